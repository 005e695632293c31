"""Owns the pool of recent content that newsletters choose from: what is in it, and in which chunks it is stored."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping

from schemas.messages import ContentItem

MAX_CHUNK_ITEMS = 200
MAX_CHUNK_BYTES = 65_536
POOL_HOURS = 24 * 31
"""Hours of content that a pool keeps, by the time of publishing; a publication looks back no further."""

HOUR_S = 3_600


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class ChunkKey:
    """Names a stored chunk: the shard's partition, the hour (since 1970) its items were published in, a number."""

    partition: int
    hour: int
    chunk: int

    def encode(self) -> bytes:
        """The table's key, `partition:hour:chunk`."""
        return f"{self.partition}:{self.hour}:{self.chunk}".encode()

    @classmethod
    def parse(cls, key: bytes) -> "ChunkKey":
        """Read a table's key; raises ValueError when it is none, after which the caller skips it."""
        partition, hour, chunk = key.split(b":")
        return cls(int(partition), int(hour), int(chunk))


def hour_of(at: dt.datetime) -> int:
    """The number of an aware time's hour since 1970."""
    return int(at.timestamp()) // HOUR_S


def oldest_hour(now: dt.datetime) -> int:
    """The first hour that a pool still keeps."""
    return hour_of(now) - POOL_HOURS


class ContentPool:
    """The newest version of each item a shard may choose from, and the chunks of each hour."""

    __slots__ = ("_chunks", "_items", "partition")

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self._items: dict[int, ContentItem] = {}
        self._chunks: dict[int, list[list[ContentItem]]] = {}

    def __len__(self) -> int:
        return len(self._items)

    def items(self) -> tuple[ContentItem, ...]:
        """All items, newest versions, in no order that means anything."""
        return tuple(self._items.values())

    def find(self, content_id: int) -> ContentItem | None:
        """An item by its number."""
        return self._items.get(content_id)

    def versions(self) -> dict[int, int]:
        """The version held of each item, by its number."""
        return {number: item.version for number, item in self._items.items()}

    def restore(self, key: ChunkKey, items: Iterable[ContentItem]) -> None:
        """Take a stored chunk as it is, after a recovery; chunks come in the order of their keys."""
        chunks = self._chunks.setdefault(key.hour, [])
        while len(chunks) <= key.chunk:
            chunks.append([])
        chunks[key.chunk] = list(items)
        for item in chunks[key.chunk]:
            self._keep(item)

    def add(self, items: Iterable[ContentItem], *, now: dt.datetime) -> dict[ChunkKey, tuple[ContentItem, ...]]:
        """Take new items and return the chunks that are to be stored again; known versions and old items are none."""
        oldest = oldest_hour(now)
        changed: dict[ChunkKey, None] = {}
        for item in items:
            hour = hour_of(item.published_at)
            if hour >= oldest and self._keep(item):
                changed[self._append(hour, item)] = None
        return {key: tuple(self._chunks[key.hour][key.chunk]) for key in changed}

    def evict(self, *, now: dt.datetime) -> list[ChunkKey]:
        """Forget hours that are too old; returns the keys to be deleted."""
        oldest = oldest_hour(now)
        gone = sorted(hour for hour in self._chunks if hour < oldest)
        keys = [ChunkKey(self.partition, hour, chunk) for hour in gone for chunk in range(len(self._chunks[hour]))]
        for hour in gone:
            for item in (item for chunk in self._chunks.pop(hour) for item in chunk):
                if self._items.get(item.content_id) is item:
                    del self._items[item.content_id]
        return keys

    def _keep(self, item: ContentItem) -> bool:
        known = self._items.get(item.content_id)
        if known is not None and known.version >= item.version:
            return False
        self._items[item.content_id] = item
        return True

    def _append(self, hour: int, item: ContentItem) -> ChunkKey:
        chunks = self._chunks.setdefault(hour, [[]])
        last = chunks[-1]
        if len(last) >= MAX_CHUNK_ITEMS or sum(map(size_of, last)) + size_of(item) > MAX_CHUNK_BYTES:
            chunks.append([])
        chunks[-1].append(item)
        return ChunkKey(self.partition, hour, len(chunks) - 1)


def size_of(item: ContentItem) -> int:
    """An upper bound of an item's encoded size in bytes: Avro varints of at most 10 bytes, text as UTF-8."""
    texts = len(item.source.encode()) + len(item.language.encode()) + 2 * 5
    return 80 + texts + sum(len(name.encode()) + 5 + 8 for name in item.topics)


def gaps(held: Mapping[int, int], stored: Mapping[int, int]) -> list[int]:
    """Numbers of items whose stored version is missing in a pool or newer than the one held, ascending."""
    return sorted(number for number, version in stored.items() if held.get(number, 0) < version)
