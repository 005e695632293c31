"""Owns the stored pool of recent content: a Faust table of chunks, mended from the database where it has gaps."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from publishing.domain.pool import HOUR_S, ChunkKey, ContentPool, gaps, oldest_hour
from publishing.runtime.clock import utc_now
from publishing.runtime.logs import get_logger
from publishing.stores import content as store
from publishing.stores.offsets import Pool
from schemas.codec import decode, encode
from schemas.errors import SchemaError
from schemas.messages import ContentItem, ContentReady

FETCHED_AT_ONCE = 1_000

log = get_logger(__name__)


class PoolTable:
    """The table's rows of each partition; written only while an event of that partition is being applied."""

    def __init__(self, pool: Callable[[], Pool], table: Any) -> None:
        self._pool = pool
        self._table = table
        self._unstored: dict[int, dict[ChunkKey, tuple[ContentItem, ...]]] = {}
        self._evicted: dict[int, int] = {}

    async def load(self, partition: int) -> ContentPool:
        """The pool of a partition: what the table has, and what the database has beyond that."""
        pool = ContentPool(partition)
        for key, value in sorted(self._chunks(partition)):
            try:
                pool.restore(key, decode(value, ContentReady).items)
            except SchemaError as error:
                log.warning("pool.chunk_unreadable", partition=partition, error=type(error).__name__)
        now = utc_now()
        pool.evict(now=now)
        since = datetime.fromtimestamp(oldest_hour(now) * HOUR_S, UTC)
        missing = gaps(pool.versions(), await store.versions_since(self._pool(), since))
        unstored: dict[ChunkKey, tuple[ContentItem, ...]] = {}
        for start in range(0, len(missing), FETCHED_AT_ONCE):
            items = await store.items_of(self._pool(), missing[start : start + FETCHED_AT_ONCE])
            unstored.update(pool.add(items, now=now))
        self._unstored[partition] = unstored
        return pool

    def add(self, pool: ContentPool, items: Iterable[ContentItem]) -> None:
        """Take new items into a pool and its table; called with an event of the pool's partition at hand."""
        now = utc_now()
        changed = {**self._unstored.pop(pool.partition, {}), **pool.add(items, now=now)}
        self._store(changed)
        if self._evicted.get(pool.partition) != oldest_hour(now):
            self._evict(pool, now)

    def _store(self, chunks: Mapping[ChunkKey, tuple[ContentItem, ...]]) -> None:
        for key, items in chunks.items():
            self._table[key.encode()] = encode(ContentReady(batch_id=0, items=items))

    def _evict(self, pool: ContentPool, now: datetime) -> None:
        oldest = oldest_hour(now)
        self._evicted[pool.partition] = oldest
        pool.evict(now=now)
        for key, _ in self._chunks(pool.partition):
            if key.hour < oldest:
                del self._table[key.encode()]

    def _chunks(self, partition: int) -> list[tuple[ChunkKey, bytes]]:
        """The stored chunks of a partition; the memory store also keeps keys of partitions that were lost."""
        own = b"%d:" % partition
        chunks: list[tuple[ChunkKey, bytes]] = []
        for key, value in list(self._table.items()):
            if key.startswith(own):
                with suppress(ValueError):
                    chunks.append((ChunkKey.parse(key), value))
        return chunks
