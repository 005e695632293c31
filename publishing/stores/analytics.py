"""Owns the reading of engagement: windows of event time, sums of a period, and the watermark."""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from typing import Any, TypeAlias

import asyncpg
import asyncpg.pool

from publishing.domain.pieces import EPOCH, pieces
from publishing.domain.windows import WIDTH_MS, Grain
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
_MEASURES = ("total", "uniques", "late", "revision", "closed")


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
    def keys(self) -> tuple[str, ...]:
        """The columns that tell the cells of the series apart, in the order of the series."""
        hidden = {column for split, column in _COLUMNS.items() if split not in self.splits}
        return tuple(name for name in _KEY if name not in hidden)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a cell of the series has, in their order."""
        return (*self.keys, *_MEASURES)

    def before(self, now: dt.datetime) -> "EngagementQuery":
        """The period of equal length before; of a period that is not over, only what has begun is compared."""
        begun = now - (now - EPOCH) % self.width + self.width
        ends_at = min(self.ends_at, begun) if begun > self.starts_at else self.ends_at
        return dataclasses.replace(self, starts_at=self.starts_at - (ends_at - self.starts_at), ends_at=self.starts_at)


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
    text, parameters = _series(query, watermark, MAX_CELLS + 1)
    return [dict(row) for row in await pool.fetch(text, *parameters)]


async def exported(
    pool: Pool, query: EngagementQuery, watermark: dt.datetime | None, *, chunk_rows: int = CHUNK_ROWS
) -> AsyncIterator[list[tuple[Any, ...]]]:
    """Yield all cells as tuples of query.columns, at most chunk_rows at a time, in the order of the series.

    Each chunk is a statement of its own: a client who reads slowly holds neither a snapshot nor a partition, and pays
    with cells of open windows that are as new as their chunk.
    """
    step = query.width * CHUNK_WINDOWS[query.grain]
    at: dt.datetime | None = query.starts_at
    while at := await pool.fetchval(SQL.next_window, query.grain, at, query.ends_at):
        until = min(at + step, query.ends_at)
        part = dataclasses.replace(query, starts_at=at, ends_at=until)
        text, parameters = _series(part, watermark, chunk_rows)
        while rows := await pool.fetch(text, *parameters):
            yield [tuple(row) for row in rows]
            if len(rows) < chunk_rows:
                break
            text, parameters = _series(part, watermark, chunk_rows, after=rows[-1][: len(query.keys)])
        at = until


async def totals(pool: Reading, query: EngagementQuery) -> list[dict[str, Any]]:
    """Sum the period by channel, kind and verdict, and by what the query tells apart; its kinds filter nothing here.

    Read from the widest windows that the period is made of: the same sums from fewer rows, which are kept longer, too.
    """
    keys = [name for name in _KEY if name in {"channel_id", "kind", "verdict", *query.keys} - {"window_start"}]
    asked = _Asked()
    filters = asked.filters(dataclasses.replace(query, kinds=None))
    parts = [
        SQL.piece.format(
            keys=", ".join(keys),
            table=_table(piece.grain),
            starts_at=asked.place(piece.starts_at),
            ends_at=asked.place(piece.ends_at),
            filters=filters,
        )
        for piece in pieces(query.grain, query.starts_at, query.ends_at)
    ]
    if not parts:
        return []
    text = SQL.totals.format(keys=", ".join(keys), pieces="\nUNION ALL\n".join(parts))
    return [dict(row) for row in await pool.fetch(text, *asked.parameters)]


class _Asked:
    """The parameters of a statement whose text is put together: each knows its place."""

    def __init__(self, *parameters: object) -> None:
        self.parameters = list(parameters)

    def place(self, parameter: object) -> str:
        self.parameters.append(parameter)
        return f"${len(self.parameters)}"

    def filters(self, query: EngagementQuery) -> str:
        named = ((SQL.channels, query.channels), (SQL.publications, query.publications), (SQL.kinds, query.kinds))
        return " ".join(text.format(place=self.place(list(some))) for text, some in named if some is not None)


def _series(
    query: EngagementQuery, watermark: dt.datetime | None, cells: int, after: Sequence[object] = ()
) -> tuple[str, list[object]]:
    """The statement of the series' first cells, or of those after the cell with these keys."""
    asked = _Asked(query.starts_at, query.ends_at, watermark, query.width, cells)
    filters, keys = asked.filters(query), ", ".join(query.keys)
    if after:
        filters += " " + SQL.after.format(keys=keys, places=", ".join(asked.place(value) for value in after))
    return SQL.series.format(keys=keys, table=_table(query.grain), filters=filters), asked.parameters


def _table(grain: Grain) -> str:
    return f"publishing_analytics_{grain}"
