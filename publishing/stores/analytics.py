"""Owns the reading of engagement: windows of event time, their watermark, and the period before to compare with."""

import dataclasses
import datetime as dt
from typing import Any

from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)
# What one answer may hold; a caller who meets it asks for a coarser grain or a shorter period.
MAX_CELLS = 20_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngagementQuery:
    """Which windows to read: from starts_at on and before ends_at (UTC); None filters nothing."""

    grain: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    channels: tuple[int, ...] | None = None
    publications: tuple[int, ...] | None = None
    kinds: tuple[str, ...] | None = None
    by_arm: bool = False
    by_verdict: bool = False


async def series(pool: Pool, query: EngagementQuery) -> list[dict[str, Any]]:
    """Read the cells in the order of their windows, at most MAX_CELLS."""
    rows = await pool.fetch(SQL.series, *_filters(query), query.by_arm, query.by_verdict, MAX_CELLS)
    hidden = {name for name, shown in (("arm", query.by_arm), ("verdict", query.by_verdict)) if not shown}
    return [{name: value for name, value in row.items() if name not in hidden} for row in rows]


async def totals(pool: Pool, query: EngagementQuery) -> dict[str, int]:
    """Sum the period by kind."""
    return {row["kind"]: row["total"] for row in await pool.fetch(SQL.totals, *_filters(query))}


async def watermark(pool: Pool) -> dt.datetime | None:
    """Return the time up to which every partition's windows are closed, or None before the first event."""
    found: dt.datetime | None = await pool.fetchval(SQL.watermark)
    return found


def _filters(query: EngagementQuery) -> list[Any]:
    named = (query.channels, query.publications, query.kinds)
    return [query.grain, query.starts_at, query.ends_at, *(None if one is None else list(one) for one in named)]
