"""Engagement in PostgreSQL: windows, first touches, seen ids, the watermark, and what ends sending; one statement."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from publishing.domain.windows import NO_WATERMARK, Columns, Folded
from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Place, Pool
from topics.catalog import SUBSCRIBER_CHANGED

SQL = load_statements(__file__)
CE_SOURCE = "tidewire/outbox"

_IDS = ("unit", "day_ms", "event_id")
_DIMENSIONS = ("publication_id", "run_id", "channel_id", "arm", "kind", "verdict")
_TOUCHES = ("place", "unit", "destination", "human", *_DIMENSIONS, "at_ms")
_CELLS = ("unit", "late_frame", "grain", "window_ms", *_DIMENSIONS, "total", "first_ms", "last_ms")
_ENDINGS = ("destination", "channel_id", "kind")


class Position(NamedTuple):
    """Where a partition goes on: its next offset, and its watermark in ms since 1970."""

    next_offset: int
    watermark_ms: int


class Advance(NamedTuple):
    """A move of the fence: the consumer's partition, from the offset expected to the one after the last applied."""

    consumer: str
    place: Place
    expected: int
    after: int


class Applied(NamedTuple):
    """What the statement did; nothing at all when the fence was not held."""

    is_held: bool
    repeated: int
    suppressed: int


async def load_positions(pool: Pool, consumer: str, places: Sequence[Place]) -> Mapping[Place, Position]:
    """Offsets and watermarks of one snapshot; (0, NO_WATERMARK) where nothing is stored yet."""
    rows = await pool.fetch(SQL.load, consumer, [p.topic for p in places], [p.partition for p in places])
    return {
        Place(row["topic"], row["partition"]): Position(
            row["next_offset"], NO_WATERMARK if row["watermark_ms"] is None else row["watermark_ms"]
        )
        for row in rows
    }


async def apply_engagement(pool: Pool, advance: Advance, folded: Folded) -> Applied:
    """Apply a folded batch and advance the fence, all or nothing; `is_held` is False when another owner advanced it.

    Raises one of DATA_ERRORS when the database refuses a value: the caller bisects to the record that holds it.
    """
    row = await pool.fetchrow(
        SQL.apply,
        advance.consumer,
        *advance.place,
        advance.expected,
        advance.after,
        *_in_order(folded.ids, _IDS),
        *_in_order(folded.touches, _TOUCHES),
        *_in_order(folded.cells, _CELLS),
        None if folded.watermark_ms == NO_WATERMARK else folded.watermark_ms,
        *_in_order(folded.endings, _ENDINGS),
        SUBSCRIBER_CHANGED.name,
        CE_SOURCE,
    )
    assert row is not None
    return Applied(row["held"], row["repeated"], row["suppressed"])


def _in_order(columns: Columns, names: Sequence[str]) -> list[object]:
    return [columns[name] for name in names]
