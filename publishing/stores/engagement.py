"""Engagement in PostgreSQL: windows, first touches, seen ids, the watermark, and what ends sending; one statement."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import asyncpg

from publishing.domain.windows import DIMENSIONS, NO_WATERMARK, Columns, Folded, Key
from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Place, Pool
from topics.catalog import SUBSCRIBER_CHANGED

SQL = load_statements(__file__)
CE_SOURCE = "tidewire/outbox"

_IDS = ("unit", "day_ms", "event_id")
_TOUCHES = ("group", "unit", "destination", "at_ms", "place")
_PRESUMED_TOUCHES = ("group", "destination", "at_ms")
_CELLS = ("group", "unit", "late_frame", "grain", "window_ms", "total", "first_ms", "last_ms")
_ENDINGS = ("destination", "channel_id", "kind")
_LINKS = ("group", "unit", "content_id", "link", "total")


class RepeatedIdError(Exception):
    """An id that was presumed new is known: fold the batch again without the presumption."""


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


async def known_ids(pool: Pool, ids: Columns) -> frozenset[Key]:
    """Which of a folded batch's ids have been counted before."""
    rows = await pool.fetch(SQL.known, ids["day_ms"], ids["event_id"])
    return frozenset((row["day_ms"], row["event_id"]) for row in rows)


def statement(*, presumed_new: bool, ends: bool, links_from: int | None = None) -> str:
    """The one statement, of only the parts that a batch needs; `links_from` numbers the first parameter of clicks."""
    ids, touches = (SQL.new_ids, SQL.new_touches) if presumed_new else (SQL.ids, SQL.touches)
    answer = [SQL.held, "" if presumed_new else SQL.repeated, SQL.suppressed if ends else ""]
    links = SQL.links.format(*(f"${links_from + n}" for n in range(len(_LINKS)))) if links_from else ""
    return "\n".join((SQL.fence, ids, touches, SQL.windows, SQL.endings if ends else "", links, *answer))


async def apply_engagement(pool: Pool, advance: Advance, folded: Folded) -> Applied:
    """Apply the folded batch of one partition and advance its fence; see `apply_partitions`."""
    return await apply_partitions(pool, [advance], folded)


async def apply_partitions(
    pool: Pool, advances: Sequence[Advance], folded: Folded, *, presumed_new: bool = False
) -> Applied:
    """Apply a folded batch of one topic's partitions and advance their fences, all or nothing.

    `is_held` is False when another owner advanced one of them: nothing is written then. Raises RepeatedIdError where
    ids were presumed new and one is not, and one of DATA_ERRORS when the database refuses a value: the caller then
    bisects to the record that holds it.
    """
    consumer, topic = advances[0].consumer, advances[0].place.topic
    if not all(advance.expected for advance in advances):
        await pool.execute(SQL.begin, consumer, topic, [a.place.partition for a in advances if not a.expected])
    sent = _PRESUMED_TOUCHES if presumed_new else _TOUCHES
    ends = bool(folded.endings["destination"])
    parameters: list[object] = [
        consumer,
        topic,
        [advance.place.partition for advance in advances],
        [advance.expected for advance in advances],
        [advance.after for advance in advances],
        [None if mark == NO_WATERMARK else mark for mark in folded.watermarks_ms],
        *_in_order(folded.ids, _IDS),
        *_in_order(folded.dimensions, DIMENSIONS),
        *(_literal(folded.touches[name]) if name in sent else "{}" for name in _TOUCHES),
        *_in_order(folded.cells, _CELLS),
    ]
    if ends:
        parameters += [*_in_order(folded.endings, _ENDINGS), SUBSCRIBER_CHANGED.name, CE_SOURCE]
    links_from = len(parameters) + 1 if folded.links["total"] else None
    if links_from:
        parameters += _in_order(folded.links, _LINKS)
    try:
        sql = statement(presumed_new=presumed_new, ends=ends, links_from=links_from)
        row = await pool.fetchrow(sql, *parameters)
    except asyncpg.UniqueViolationError as error:
        if presumed_new and str(error.table_name).startswith("publishing_event_ids"):
            raise RepeatedIdError from error
        raise
    assert row is not None
    return Applied(row["held"], row.get("repeated", 0), row.get("suppressed", 0))


def _literal(numbers: Sequence[int]) -> str:
    """An array's text, {1,2}: the driver looks at each element of a list, which costs more than all else of a touch."""
    return "{" + str(numbers)[1:-1] + "}"


def _in_order(columns: Columns, names: Sequence[str]) -> list[object]:
    return [columns[name] for name in names]
