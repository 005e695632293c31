"""Owns what the dashboard reads: sums of windows and of channels, runs in progress, and how fresh all of it is."""

import dataclasses
import datetime as dt
from typing import Any, Final

from publishing.domain.ledger import TERMINAL
from publishing.domain.windows import Grain
from publishing.runtime.statements import load_statements
from publishing.stores.analytics import snapshot
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

    grain: Grain
    starts_at: dt.datetime
    ends_at: dt.datetime
    publication_id: int | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Cells:
    """The sums of a span by kind and verdict: of each channel (no name: it is unknown here), and of each window."""

    channels: list[Row]
    windows: list[Row]


async def cells(pool: Pool, span: Span) -> Cells:
    """Sum the span once by channel and once by window, in one reading of it."""
    asked: list[object] = [span.starts_at, span.ends_at]
    filters = ""
    if span.publication_id is not None:
        asked.append(span.publication_id)
        filters = SQL.of_publication
    text = SQL.cells.format(table=f"publishing_analytics_{span.grain}", filters=filters)
    async with snapshot(pool) as reading:
        found = _rows(await reading.fetch(text, *asked))
    return Cells(
        channels=[row for row in found if row["window_start"] is None],
        windows=[row for row in found if row["channel_id"] is None],
    )


async def planned(pool: Pool, span: Span) -> int:
    """Count the deliveries planned by the runs that began in the span."""
    found: int = await pool.fetchval(SQL.planned, span.starts_at, span.ends_at, span.publication_id)
    return found


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
