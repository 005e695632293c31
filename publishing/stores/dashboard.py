"""Owns what the dashboard reads: funnel, series, channels, runs in progress, and how fresh all of it is."""

import dataclasses
import datetime as dt
from typing import Any, Final

from publishing.domain.ledger import TERMINAL
from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)

# Kinds that a reader, or a machine in a reader's name, causes; only these have a verdict.
READER_KINDS: Final = ("opened", "clicked", "unsubscribed")
SHOWN_PUBLICATIONS: Final = 200
SHOWN_RUNS: Final = 8
SHOWN_LINKS: Final = 12
# A relay that is this far behind is told as "more than".
MAX_WAITING: Final = 10_000

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Which windows are read: of one grain, from starts_at on and before ends_at (UTC), of one publication or all."""

    grain: str
    starts_at: dt.datetime
    ends_at: dt.datetime
    publication_id: int | None = None

    @property
    def arguments(self) -> tuple[str, dt.datetime, dt.datetime, int | None]:
        """The span as the statements take it."""
        return self.grain, self.starts_at, self.ends_at, self.publication_id


async def funnel(pool: Pool, span: Span) -> list[Row]:
    """Sum the span by kind and verdict."""
    return _rows(await pool.fetch(SQL.funnel, *span.arguments))


async def planned(pool: Pool, span: Span) -> int:
    """Count the deliveries planned by the runs that began in the span."""
    found: int = await pool.fetchval(SQL.planned, span.starts_at, span.ends_at, span.publication_id)
    return found


async def series(pool: Pool, span: Span, kinds: tuple[str, ...], verdict: str | None) -> list[Row]:
    """Sum the span by window and kind; the verdict narrows only what readers do, None narrows nothing."""
    return _rows(await pool.fetch(SQL.series, *span.arguments, list(kinds), verdict, list(READER_KINDS)))


async def channels(pool: Pool, span: Span) -> list[Row]:
    """Sum the span by channel, kind and verdict."""
    return _rows(await pool.fetch(SQL.channels, *span.arguments))


async def publications(pool: Pool) -> list[Row]:
    """Read the publications to choose from, the newest first, at most 200."""
    return _rows(await pool.fetch(SQL.publications, SHOWN_PUBLICATIONS))


async def runs(pool: Pool, publication_id: int | None) -> list[Row]:
    """Read the runs in progress with how far each is, the newest first, at most 8."""
    return _rows(await pool.fetch(SQL.runs, publication_id, SHOWN_RUNS, sorted(TERMINAL)))


async def links(pool: Pool, span: Span, verdict: str | None) -> list[Row]:
    """Read the links that were clicked most in the runs that began in the span, at most 12."""
    found = await pool.fetch(SQL.links, span.publication_id, span.starts_at, span.ends_at, verdict, SHOWN_LINKS)
    return _rows(found)


async def watermark(pool: Pool) -> Row | None:
    """Read how far the windows are closed, and when that last moved; None before the first event."""
    found = await pool.fetchrow(SQL.watermark)
    return None if found is None else dict(found)


async def positions(pool: Pool) -> list[Row]:
    """Read the next offset of each consumer in each partition, and when it last moved."""
    return _rows(await pool.fetch(SQL.positions))


async def outbox(pool: Pool) -> Row:
    """Count what waits to be produced, up to 10,000, and read since when the oldest waits."""
    return _rows(await pool.fetch(SQL.outbox, MAX_WAITING))[0]


def _rows(found: list[Any]) -> list[Row]:
    return [dict(row) for row in found]
