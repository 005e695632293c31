"""Owns the shards of this process: their state in memory, loaded from one snapshot and changed under a lock each."""

import asyncio
import dataclasses
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager

from publishing.domain.interests import ROOM_RING_SIZE, remember
from publishing.domain.matching import (
    AudienceColumns,
    Reader,
    ReaderState,
    Vocabularies,
    columns_of,
    merged,
    with_rings,
    with_states,
)
from publishing.domain.pool import ContentPool
from publishing.domain.watermarks import ContiguousMark
from publishing.runtime.logs import get_logger
from publishing.stores.audience import ShardRows, load_shard
from publishing.stores.offsets import Place, Pool
from streams.pool import PoolTable

log = get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ShardSnapshot:
    """A shard at one moment; nothing in it changes but that vocabularies grow."""

    columns: AudienceColumns
    vocabularies: Vocabularies
    rooms: Mapping[int, tuple[int, ...]]

    def after(self, sent: Mapping[int, tuple[int, ...]]) -> "ShardSnapshot":
        """The snapshot after items were sent to destinations."""
        rings = rings_after(self, sent, {})
        rooms = {
            **self.rooms,
            **{number: ring for number, ring in rings.items() if self.columns.row_of(number) is None},
        }
        return dataclasses.replace(self, columns=with_rings(self.columns, rings), rooms=rooms)


def rings_after(
    snapshot: ShardSnapshot, sent: Mapping[int, tuple[int, ...]], newer: Mapping[int, tuple[int, ...]]
) -> dict[int, tuple[int, ...]]:
    """The rings of destinations after items were sent to them, from those of the snapshot or newer ones.

    A destination that is no reader of the shard is a room.
    """
    rings = {}
    for number, items in sent.items():
        row = snapshot.columns.row_of(number)
        before = newer.get(number)
        if row is None:
            rings[number] = remember(before or snapshot.rooms.get(number, ()), items, size=ROOM_RING_SIZE)
        else:
            rings[number] = remember(before or snapshot.columns.ring(row), items)
    return rings


class Shard:
    """One shard's state; changed only by the holder of its lock."""

    def __init__(self, number: int, rows: ShardRows, pool: ContentPool) -> None:
        self.number = number
        self.subscribers = ContiguousMark(rows.seq)
        self.content = ContiguousMark(rows.batch_id)
        self.pool = pool
        self.vocabularies = Vocabularies()
        self._rooms = dict(rows.rooms)
        self._columns = columns_of(rows.readers, self.vocabularies)
        self._changed: dict[int, Reader] = {}
        self._removed: set[int] = set()
        self._states: dict[int, ReaderState] = {}

    def put(self, readers: Iterable[Reader], gone: Iterable[int]) -> None:
        """Take readers as they were read again, state and all, and forget those that are gone."""
        for reader in readers:
            self._changed[reader.destination] = reader
            self._removed.discard(reader.destination)
            self._states.pop(reader.destination, None)
        for number in gone:
            self._changed.pop(number, None)
            self._removed.add(number)

    def learned(self, states: Mapping[int, ReaderState]) -> None:
        """Take what was learned of readers, once it is stored."""
        self._states.update(states)

    def remembered(self, rings: Mapping[int, tuple[int, ...]]) -> None:
        """Take the rings of what was sent, once they are stored."""
        columns = self._current()
        self._columns = with_rings(columns, rings)
        self._rooms.update({number: ring for number, ring in rings.items() if columns.row_of(number) is None})

    def state_of(self, number: int) -> ReaderState | None:
        """What the shard has learned of a reader, or None when it is no reader of the shard."""
        columns = self._current()
        row = columns.row_of(number)
        if row is None:
            return None
        return ReaderState(learned=columns.learned_of(row, self.vocabularies.topics), recent=columns.ring(row))

    def snapshot(self) -> ShardSnapshot:
        """The state as it is now, to be planned over at leisure."""
        return ShardSnapshot(self._current(), self.vocabularies, dict(self._rooms))

    def _current(self) -> AudienceColumns:
        if self._changed or self._removed:
            self._columns = merged(self._columns, self._changed.values(), self._removed, self.vocabularies)
            self._changed, self._removed = {}, set()
        if self._states:
            self._columns = with_states(self._columns, self._states, self.vocabularies)
            self._states = {}
        return self._columns


class Shards:
    """All shards that this process owns; each is loaded before its first use, and again when its fence is lost."""

    def __init__(self, pool: Callable[[], Pool], consumer: str, topics: Sequence[str], table: PoolTable) -> None:
        self._pool = pool
        self._consumer = consumer
        self._topics = topics
        self._table = table
        self._shards: dict[int, Shard] = {}
        self._locks: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def held(self, number: int) -> AsyncIterator[Shard]:
        """A shard that nobody else changes meanwhile; loaded first where it is not."""
        async with self._locks[number]:
            if number not in self._shards:
                await self._load(number)
            yield self._shards[number]

    def find(self, number: int) -> Shard | None:
        """A shard as it is, or None while it is not loaded."""
        return self._shards.get(number)

    def forget_all(self) -> None:
        """Drop all state, at an assignment: what another worker did meanwhile is in the database only."""
        self._shards.clear()

    async def reload(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Load the shards of places again; the next offsets of all their topics, of the same snapshots."""
        offsets: dict[Place, int] = {}
        for number in sorted({place.partition for place in places}):
            async with self._locks[number]:
                offsets.update(await self._load(number))
        return offsets

    async def _load(self, number: int) -> Mapping[Place, int]:
        rows = await load_shard(self._pool(), self._consumer, number, self._topics)
        pool = await self._table.load(number)
        self._shards[number] = Shard(number, rows, pool)
        log.info("shard.loaded", shard=number, readers=len(rows.readers), items=len(pool), seq=rows.seq)
        return rows.offsets
