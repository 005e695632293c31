"""Owns the reading of engagement: windows of event time, sums of a period, and the watermark."""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from typing import Any, TypeAlias

import asyncpg
import asyncpg.pool

from publishing.domain.windows import GRAINS, WIDTH_MS, Grain
from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)
Reading: TypeAlias = Pool | asyncpg.pool.PoolConnectionProxy
# What one answer may hold; a caller who meets it asks for a coarser grain, a shorter period or an export.
MAX_CELLS = 20_000
# Rows of an export in memory at once: about 1 MB.
CHUNK_ROWS = 5_000
# What an export reads in one statement at most, in windows: a day of hours, an hour of minutes, a month of days.
CHUNK_WINDOWS = {Grain.MINUTE: 60, Grain.HOUR: 24, Grain.DAY: 31}

SPLITS = ("publication", "run", "arm", "verdict")
_COLUMNS = {"publication": "publication_id", "run": "run_id", "arm": "arm", "verdict": "verdict"}
_KEY = ("window_start", "publication_id", "run_id", "channel_id", "kind", "arm", "verdict")
_ORDER = (*_KEY, "total", "uniques", "late", "revision", "closed")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class EngagementQuery:
    """Which windows to read: those that begin at or after starts_at and before ends_at (UTC); None filters nothing."""

    grain: Grain
    starts_at: dt.datetime
    ends_at: dt.datetime
    channels: tuple[int, ...] | None = None
    publications: tuple[int, ...] | None = None
    kinds: tuple[str, ...] | None = None
    splits: frozenset[str] = frozenset()

    @property
    def width(self) -> dt.timedelta:
        """The width of a window."""
        return dt.timedelta(milliseconds=WIDTH_MS[self.grain])

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a cell of the series has, in their order."""
        hidden = {column for split, column in _COLUMNS.items() if split not in self.splits}
        return tuple(name for name in _ORDER if name not in hidden)

    def before(self, now: dt.datetime) -> "EngagementQuery":
        """The period of equal length before; of a period that is not over, only what has begun is compared."""
        begun = now - (now - _EPOCH) % self.width + self.width
        ends_at = min(self.ends_at, begun) if begun > self.starts_at else self.ends_at
        return dataclasses.replace(self, starts_at=self.starts_at - (ends_at - self.starts_at), ends_at=self.starts_at)


_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@contextlib.asynccontextmanager
async def snapshot(pool: Pool) -> AsyncIterator[Reading]:
    """Read several things as of one moment, each planned for what it asks: one plan for all takes twice as long."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL plan_cache_mode = force_custom_plan")
        yield connection


async def watermark(pool: Reading) -> dt.datetime | None:
    """Return the time up to which windows are closed, or None before every partition has said something."""
    found: dt.datetime | None = await pool.fetchval(SQL.watermark)
    return found


async def series(pool: Reading, query: EngagementQuery, watermark: dt.datetime | None) -> list[dict[str, Any]]:
    """Read the cells in the order of their windows, at most MAX_CELLS and one more that says that there are more.

    A watermark that was read before the cells calls no window closed that was open when it was read.
    """
    columns = query.columns
    rows = await pool.fetch(SQL.series, *_asked(query), watermark, query.width, *_first_key(query), MAX_CELLS + 1)
    return [{name: row[name] for name in columns} for row in rows]


async def exported(
    pool: Pool, query: EngagementQuery, watermark: dt.datetime | None, *, chunk_rows: int = CHUNK_ROWS
) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield all cells as tuples of query.columns, at most chunk_rows at a time, in the order of the series.

    Each chunk is a statement of its own: a client who reads slowly holds neither a snapshot nor a partition, and pays
    with cells of open windows that are as new as their chunk.
    """
    columns, step = query.columns, query.width * CHUNK_WINDOWS[query.grain]
    at: dt.datetime | None = query.starts_at
    while at := await pool.fetchval(SQL.next_window, query.grain, at, query.ends_at):
        until = min(at + step, query.ends_at)
        part = dataclasses.replace(query, starts_at=at, ends_at=until)
        key = _first_key(part)
        while rows := await pool.fetch(SQL.series, *_asked(part), watermark, query.width, *key, chunk_rows):
            yield [tuple(row[name] for name in columns) for row in rows]
            if len(rows) < chunk_rows:
                break
            key = [rows[-1][name] for name in _KEY]
        at = until


async def totals(pool: Reading, query: EngagementQuery) -> list[dict[str, Any]]:
    """Sum the period by channel, kind and verdict, and by what the query tells apart; its kinds filter nothing here."""
    told = ["publication" in query.splits, "run" in query.splits, "arm" in query.splits]
    coarse = dataclasses.replace(query, grain=_coarsest(query))
    return [dict(row) for row in await pool.fetch(SQL.totals, *_filters(coarse)[:5], *told)]


def _coarsest(query: EngagementQuery) -> Grain:
    """The widest windows that the period is made of: the same sums from fewer rows, which are kept longer, too."""
    for grain in reversed(GRAINS):
        width = dt.timedelta(milliseconds=WIDTH_MS[grain])
        if not any((moment - _EPOCH) % width for moment in (query.starts_at, query.ends_at)):
            return grain
    return query.grain


def _asked(query: EngagementQuery) -> list[Any]:
    return [*_filters(query), *(split in query.splits for split in SPLITS)]


def _filters(query: EngagementQuery) -> list[Any]:
    named = (query.channels, query.publications, query.kinds)
    return [query.grain, query.starts_at, query.ends_at, *(None if one is None else list(one) for one in named)]


def _first_key(query: EngagementQuery) -> list[Any]:
    """A key before every cell of the query: no number is below 0."""
    return [query.starts_at, -1, -1, -1, "", -1, ""]
