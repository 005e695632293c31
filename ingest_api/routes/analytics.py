"""Owns the analysts' routes: engagement by windows, as JSON or exported, and how sending went."""

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel
from starlette.responses import Response, StreamingResponse

from ingest_api.access import resources_of
from ingest_api.analysis import engagement_view
from ingest_api.auth import PREFIX
from ingest_api.descriptions import PROBLEM, answers
from ingest_api.exports import MEDIA_TYPES, WRITERS, format_of
from ingest_api.performing import performance_view
from ingest_api.periods import Listed, Moment, numbers_of, period_of, words_of
from ingest_api.views import answer
from publishing.domain.windows import Grain
from publishing.runtime.clock import utc_now
from publishing.stores import analytics
from publishing.stores.analytics import SPLITS, EngagementQuery
from publishing.stores.performance import PerformanceQuery
from schemas.messages import EngagementKind

# A client that has not read its export by then is cut off; it asks for a shorter period.
EXPORT_WAIT_S = 600

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["analytics"])
_KINDS = frozenset(kind.value for kind in EngagementKind)
_ENGAGEMENT: dict[str, Any] = answers("EngagementView", "The windows; as CSV or Parquet all of them, streamed.")
_ENGAGEMENT["content"] |= {
    "text/csv": {"schema": {"type": "string"}},
    MEDIA_TYPES["parquet"]: {"schema": {"type": "string", "format": "binary"}},
}


class EngagementParameters(BaseModel):
    """What may be asked of engagement; split tells publications, runs, arms and verdicts apart."""

    start_date: Moment = ""
    end_date: Moment = ""
    channels: Listed = ""
    publications: Listed = ""
    metrics: Listed = ""
    grain: Literal["minute", "hour", "day"] = "hour"
    split: Listed = ""
    format: Literal["", "json", "csv", "parquet"] = ""


class PerformanceParameters(BaseModel):
    """What may be asked of performance; the period is that in which runs were made."""

    start_date: Moment = ""
    end_date: Moment = ""
    channels: Listed = ""
    publications: Listed = ""


@router.get("/analytics/engagement", responses={200: _ENGAGEMENT})
async def get_engagement(request: Request, asked: Annotated[EngagementParameters, Query()]) -> Response:
    """Read engagement by windows of event time; a date as end_date includes its day; the last 7 days by default."""
    now = utc_now()
    starts_at, ends_at = period_of(asked.start_date, asked.end_date, now)
    query = EngagementQuery(
        grain=Grain(asked.grain),
        starts_at=starts_at,
        ends_at=ends_at,
        channels=numbers_of("channels", asked.channels),
        publications=numbers_of("publications", asked.publications),
        kinds=words_of("metrics", asked.metrics, _KINDS),
        splits=frozenset(words_of("split", asked.split, SPLITS) or ()),
    )
    pool = resources_of(request).pool.require()
    wanted = format_of(asked.format, request.headers.get("accept", ""))
    if wanted == "json":
        return answer(await engagement_view(pool, query, now))
    watermark = await analytics.watermark(pool)
    written = WRITERS[wanted](query.columns, analytics.exported(pool, query, watermark))
    headers = {
        "Cache-Control": "no-store",
        "Content-Disposition": f'attachment; filename="engagement.{wanted}"',
        "Vary": "Accept",
        "X-Watermark": watermark.isoformat() if watermark else "none",
    }
    return StreamingResponse(_within(written), media_type=MEDIA_TYPES[wanted], headers=headers)


@router.get("/analytics/performance", responses={200: answers("PerformanceView", "How sending went.")})
async def get_performance(request: Request, asked: Annotated[PerformanceParameters, Query()]) -> Response:
    """Read how the runs of a period went, and what is recommended on the evidence of the 90 days before its end."""
    now = utc_now()
    starts_at, ends_at = period_of(asked.start_date, asked.end_date, now)
    query = PerformanceQuery(
        starts_at=starts_at,
        ends_at=ends_at,
        channels=numbers_of("channels", asked.channels),
        publications=numbers_of("publications", asked.publications),
    )
    return answer(await performance_view(resources_of(request).pool.require(), query, now))


async def _within(written: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    async with asyncio.timeout(EXPORT_WAIT_S):
        async for part in written:
            yield part
