"""Owns what one rendering of the dashboard reads: every figure from PostgreSQL, the ends of topics from the brokers."""

import asyncio
import dataclasses
import datetime as dt
from typing import Any, Final

from ingest_api.dashboard import figures
from ingest_api.dashboard.lag import ConsumerLag, Log, lags
from ingest_api.dashboard.view import View
from publishing.runtime.logs import get_logger
from publishing.stores import dashboard
from publishing.stores.availability import Pool, is_unavailable

# The edge ends a reading request after 2 s with a problem document; a person is told in words before that.
WAIT_S: Final = 1.6
ENGAGEMENT: Final = "engagement"

Row = dict[str, Any]
log = get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Freshness:
    """How far the numbers are behind; ages in seconds, lag in frames, None where it is not known."""

    watermark: dt.datetime | None
    watermark_age_s: float
    lag: int | None
    waiting: int
    waiting_age_s: float | None
    buried: int | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that the panels show."""

    steps: list[figures.Step]
    course: figures.Course
    channels: list[figures.ChannelFigures]
    heat: list[figures.LinkHeat]
    runs: list[Row]
    lags: list[ConsumerLag]
    fresh: Freshness

    @property
    def has_deliveries(self) -> bool:
        """Whether any step of the funnel has a count."""
        return any(step.count for step in self.steps)

    @property
    def has_receipts(self) -> bool:
        """Whether a provider has reported what it delivered."""
        return any(step.count for step in self.steps if step.key == "delivered")


async def publications(pool: Pool | None) -> list[Row] | None:
    """Read the publications to choose from, or None while the database is away."""
    if pool is None:
        return None
    try:
        async with asyncio.timeout(WAIT_S / 2):
            return await dashboard.publications(pool)
    except Exception as error:
        if not is_unavailable(error):
            raise
        return None


async def read(pool: Pool | None, log_ends: Log, view: View, now: dt.datetime) -> Facts | None:
    """Read everything within 1.6 s, or return None while the database is away."""
    if pool is None:
        return None
    try:
        async with asyncio.timeout(WAIT_S):
            return await _read(pool, log_ends, view, now)
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("dashboard.unavailable", error=type(error).__name__)
        return None


async def _read(pool: Pool, log_ends: Log, view: View, now: dt.datetime) -> Facts:
    """Ask one statement after another: a dashboard takes one connection of the pool, not nine."""
    span = view.span
    positions = await dashboard.positions(pool)
    cells = await dashboard.cells(pool, span)
    planned = await dashboard.planned(pool, span)
    course = figures.course(cells.windows, view)
    channels = figures.channels(cells.channels, view.only)
    heat = figures.heat(await dashboard.links(pool, span, view.only), view.only)
    runs = await dashboard.runs(pool, view.publication_id)
    watermark = await dashboard.watermark(pool)
    outbox = await dashboard.outbox(pool)
    ends = await log_ends.ends(row["topic"] for row in positions)
    behind = lags(positions, ends)
    engaged = [one.lag for one in behind if one.consumer == ENGAGEMENT and one.lag is not None]
    fresh = Freshness(
        watermark=watermark["watermark"] if watermark else None,
        watermark_age_s=(now - watermark["watermark"]).total_seconds() if watermark else 0.0,
        lag=None if ends is None else sum(engaged),
        waiting=outbox["waiting"],
        waiting_age_s=(now - outbox["oldest_at"]).total_seconds() if outbox["oldest_at"] else None,
        buried=None if ends is None else sum(ends.buried.values()),
    )
    steps = figures.funnel(cells.channels, planned, view.only)
    return Facts(steps=steps, course=course, channels=channels, heat=heat, runs=runs, lags=behind, fresh=fresh)
