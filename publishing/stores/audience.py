"""Owns what a shard is loaded from and what it learns: one snapshot of rows, marks and offsets, and fenced updates."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from publishing.domain.matching import Reader, ReaderState, kept_topics
from publishing.domain.planning import Channel
from publishing.domain.publications import Publication
from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Place, Pool

SQL = load_statements(__file__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ShardRows:
    """A shard in one snapshot: seq and batch_id are the last changes that it holds, rooms are rings by destination."""

    readers: Sequence[Reader]
    rooms: Mapping[int, tuple[int, ...]]
    seq: int
    batch_id: int
    offsets: Mapping[Place, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueRows:
    """The publications that may run, all channels, and the newest published version of each template."""

    publications: Mapping[int, Publication]
    channels: Mapping[int, Channel]
    template_versions: Mapping[int, int]


@dataclasses.dataclass(frozen=True, slots=True)
class Learned:
    """A reader's new state, and how many events it came from."""

    state: ReaderState
    events: int


async def load_shard(pool: Pool, consumer: str, shard: int, topics: Iterable[str]) -> ShardRows:
    """Read a shard with its marks and the next offsets of its topics, all of one moment."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        marks: Any = await connection.fetchrow(SQL.marks, shard)
        offsets = await connection.fetch(SQL.offsets, consumer, list(topics), shard)
        rooms = await connection.fetch(SQL.rooms, shard)
        readers = await connection.fetch(SQL.readers, shard)
    return ShardRows(
        readers=[reader_of(dict(row)) for row in readers],
        rooms={row["destination"]: tuple(row["recent"]) for row in rooms},
        seq=marks["seq"],
        batch_id=marks["batch_id"],
        offsets={Place(row["topic"], shard): row["next_offset"] for row in offsets},
    )


async def readers_of(pool: Pool, shard: int, numbers: Sequence[int]) -> list[Reader]:
    """The readers of a shard with these numbers, as they are stored now; other numbers are left out."""
    return [reader_of(dict(row)) for row in await pool.fetch(SQL.readers_by_number, shard, numbers)]


async def learn(
    pool: Pool, consumer: str, place: Place, learned: Mapping[int, Learned], *, expected: int, after: int
) -> bool:
    """Advance the fence and store what was learned by destination; False when another owner has advanced it."""
    numbers = sorted(learned)
    return bool(
        await pool.fetchval(
            SQL.learn,
            consumer,
            place.topic,
            place.partition,
            expected,
            after,
            numbers,
            [dict(learned[number].state.learned) for number in numbers],
            [learned[number].events for number in numbers],
            [array_text(learned[number].state.recent) for number in numbers],
        )
    )


async def fingerprint(pool: Pool) -> str:
    """A text that differs whenever any publication, channel or template does."""
    return str(await pool.fetchval(SQL.fingerprint))


async def load_catalogue(pool: Pool) -> CatalogueRows:
    """Read everything that planning needs beside the shards, of one moment."""
    async with pool.acquire() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
        publications = await connection.fetch(SQL.publications)
        channels = await connection.fetch(SQL.channels)
        templates = await connection.fetch(SQL.templates)
    return CatalogueRows(
        publications={row["id"]: Publication.from_row(dict(row)) for row in publications},
        channels={row["id"]: channel_of(dict(row)) for row in channels},
        template_versions={row["id"]: row["version"] for row in templates},
    )


async def find_publication(pool: Pool, number: int) -> Publication | None:
    """A publication whatever its status, or None."""
    row = await pool.fetchrow(SQL.publication, number)
    return None if row is None else Publication.from_row(dict(row))


def array_text(numbers: Iterable[int]) -> str:
    """Numbers as PostgreSQL writes an array: what lets arrays of many lengths travel in one argument."""
    return "{" + ",".join(map(str, numbers)) + "}"


def reader_of(row: Mapping[str, Any]) -> Reader:
    """The reader of a row."""
    return Reader(
        destination=row["id"],
        active=row["status"] == "active",
        channels=frozenset(kind for kind, is_on in row["channels"].items() if is_on is True),
        topics=kept_topics(row["topics"]),
        attributes=row["attributes"],
        learned=kept_topics(row["learned"]),
        recent=tuple(row["recent"]),
    )


def channel_of(row: Mapping[str, Any]) -> Channel:
    """The channel of a row; a list of topics gives each the weight 1."""
    topics = row["topics"]
    return Channel(
        id=row["id"],
        kind=row["kind"],
        is_active=row["status"] == "active",
        destination=row["destination"],
        shard=row["shard"],
        topics=kept_topics(topics if isinstance(topics, Mapping) else dict.fromkeys(topics, 1.0)),
    )
