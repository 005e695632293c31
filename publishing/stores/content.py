"""Owns the rows of content and of its numbered batches, which content.ready is produced from and from nothing else."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from publishing.domain.content import ReviewedContent
from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Place, Pool
from schemas.messages import ContentItem, ContentReady, ContentType, Priority

SQL = load_statements(__file__)

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
COLUMNS = tuple(field.name for field in dataclasses.fields(ReviewedContent))


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """What a write came to: whether the fence held, and the batch of what changed, if anything did."""

    is_held: bool
    batch: ContentReady | None


async def store(
    pool: Pool, consumer: str, place: Place, items: Sequence[ReviewedContent], *, expected: int, after: int
) -> Stored:
    """Advance the fence, keep newer versions and number the batch of them, all in one statement.

    Items are in the order of (source, external_id), each once: concurrent writers then lock in one order.
    """
    columns = [[getattr(item, name) for item in items] for name in COLUMNS]
    row: Any = await pool.fetchrow(SQL.store, consumer, place.topic, place.partition, expected, after, *columns)
    return Stored(row["is_held"], None if row["batch_id"] is None else batch_of(row))


async def unsent_batches(pool: Pool, partitions: Sequence[int]) -> list[ContentReady]:
    """The oldest batches (at most 100) of source partitions that nobody has noted as produced."""
    return [batch_of(dict(row)) for row in await pool.fetch(SQL.unsent_batches, partitions)]


async def mark_emitted(pool: Pool, batch_ids: Sequence[int]) -> None:
    """Note batches as produced to every shard."""
    await pool.execute(SQL.mark_emitted, batch_ids)


async def versions_since(pool: Pool, published_since: dt.datetime) -> dict[int, int]:
    """The version of each item published since a time, by its number."""
    return {row["id"]: row["version"] for row in await pool.fetch(SQL.versions, published_since)}


async def items_of(pool: Pool, numbers: Sequence[int]) -> list[ContentItem]:
    """The items with these numbers, as they are stored now."""
    return [item_of(dict(row)) for row in await pool.fetch(SQL.items, numbers)]


def batch_of(row: Mapping[str, Any]) -> ContentReady:
    """The message of a batch's row."""
    return ContentReady(batch_id=row["batch_id"], items=tuple(item_of(item) for item in row["items"]))


def item_of(row: Mapping[str, Any]) -> ContentItem:
    """The item of a row or of a batch's snapshot; its times are ms since 1970."""
    return ContentItem(
        content_id=row["content_id"],
        version=row["version"],
        source=row["source"],
        type=ContentType(row["type"]),
        topics=row["topics"],
        quality=row["quality"],
        language=row["language"],
        priority=Priority(row["priority"]),
        published_at=_time(row["published_at"]),
        expires_at=None if row["expires_at"] is None else _time(row["expires_at"]),
        retracted=row["retracted"],
        submitted_at=_time(row["submitted_at"]),
    )


def _time(ms: int) -> dt.datetime:
    return EPOCH + dt.timedelta(milliseconds=ms)
