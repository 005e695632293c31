"""Owns the reading of engagement: series of windows, their watermark, and trends."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

import msgspec
from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from ingest_api.access import resources_of
from ingest_api.auth import PREFIX
from ingest_api.descriptions import PROBLEM, answers
from ingest_api.problems import FieldError, invalid
from ingest_api.views import EngagementCell, EngagementView, Trend, answer
from publishing.runtime.clock import utc_now
from publishing.stores import analytics
from publishing.stores.analytics import EngagementQuery
from schemas.messages import EngagementKind

DEFAULT_PERIOD = dt.timedelta(days=7)
MAX_LIST_CHARS = 2_000

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["analytics"])
Listed = Annotated[str, Field(max_length=MAX_LIST_CHARS, description="Values separated by commas.")]
Moment = Annotated[str, Field(max_length=40, description="A date, or a time with its offset (ISO 8601).")]
Value = TypeVar("Value")
_KINDS = {kind.value for kind in EngagementKind}
_SPLITS = {"arm", "verdict"}
_MAX_NUMBER = {"channels": 2**31 - 1, "publications": 2**63 - 1}


class EngagementParameters(BaseModel):
    """What may be asked of engagement."""

    start_date: Moment = ""
    end_date: Moment = ""
    channels: Listed = ""
    publications: Listed = ""
    metrics: Listed = ""
    grain: Literal["minute", "hour", "day"] = "hour"
    split: Listed = ""


@router.get("/analytics/engagement", responses={200: answers("EngagementView", "The windows.")})
async def get_engagement(request: Request, asked: Annotated[EngagementParameters, Query()]) -> Response:
    """Read engagement by windows of event time; a date as end_date includes its day; the last 7 days by default."""
    query = _query(asked, utc_now())
    pool = resources_of(request).pool.require()
    period = query.ends_at - query.starts_at
    before = dataclasses.replace(query, starts_at=query.starts_at - period, ends_at=query.starts_at)
    view = EngagementView(
        watermark=await analytics.watermark(pool),
        series=msgspec.convert(await analytics.series(pool, query), list[EngagementCell]),
        trends=trends(await analytics.totals(pool, query), await analytics.totals(pool, before)),
    )
    return answer(view)


def _query(asked: EngagementParameters, now: dt.datetime) -> EngagementQuery:
    ends_at = _moment("end_date", asked.end_date, is_end=True) or now + dt.timedelta(minutes=1)
    starts_at = _moment("start_date", asked.start_date, is_end=False) or ends_at - DEFAULT_PERIOD
    if starts_at >= ends_at:
        raise invalid(FieldError("end_date", "must be after start_date"))
    splits = _listed("split", asked.split, _one_of(_SPLITS)) or ()
    return EngagementQuery(
        grain=asked.grain,
        starts_at=starts_at,
        ends_at=ends_at,
        channels=_listed("channels", asked.channels, _number(_MAX_NUMBER["channels"])),
        publications=_listed("publications", asked.publications, _number(_MAX_NUMBER["publications"])),
        kinds=_listed("metrics", asked.metrics, _one_of(_KINDS)),
        by_arm="arm" in splits,
        by_verdict="verdict" in splits,
    )


def trends(now: dict[str, int], before: dict[str, int]) -> dict[str, Trend]:
    """Compare two periods by kind: 30 after 20 is a change_ratio of 0.5."""
    found = {}
    for kind in sorted(now.keys() | before.keys()):
        total, earlier = now.get(kind, 0), before.get(kind, 0)
        found[kind] = Trend(total, earlier, (total - earlier) / earlier if earlier else None)
    return found


def _moment(field: str, text: str, *, is_end: bool) -> dt.datetime | None:
    """Read a date or time as UTC; a date stands for its beginning, or as an end for the end of its day."""
    if not text:
        return None
    try:
        # A plus in a query that was not escaped arrives as a space.
        moment = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        utc = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
        is_date = len(text) <= len("2026-01-01")
        return utc + dt.timedelta(days=1) if is_end and is_date else utc
    except (ValueError, OverflowError) as error:
        raise invalid(FieldError(field, "must be a date, or a time with its offset (ISO 8601)")) from error


def _listed(field: str, text: str, read: Callable[[str], Value]) -> tuple[Value, ...] | None:
    if not text:
        return None
    try:
        return tuple(read(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise invalid(FieldError(field, str(error))) from error


def _number(largest: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) > largest:
            raise ValueError("must be numbers separated by commas")
        return int(text)

    return read


def _one_of(allowed: set[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be of {', '.join(sorted(allowed))}")
        return text

    return read
