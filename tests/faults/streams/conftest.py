"""A stage for engagement workers under fault: real broker, real database, real processes, and a recount of the log."""

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from publishing.runtime.clock import now_ms
from publishing.runtime.producer import full_name, open_producer
from publishing.runtime.settings import Settings
from publishing.stores.offsets import Pool
from schemas.errors import SchemaError
from schemas.frames import KINDS, VERDICTS, encode_frame, new_events
from streams.engagement import NAME, decode
from tests.fakes.engagement_recount import DIMENSIONS, Recount
from tests.fakes.streams_worker import StreamWorker, eventually, stream_worker
from tests.fakes.topic_reader import drained
from topics.catalog import ENGAGEMENT_RECORDED

WORKER = ("-m", "streams.engagement")
MUTANT = str(Path(__file__).with_name("mutant_worker.py"))
COLUMNS = ", ".join(DIMENSIONS)
MEASURES = "total, uniques, late, revision"


class Stage:
    """One installation: its log, its workers, and the two sides of the comparison."""

    def __init__(self, settings: Settings, pool: Pool, producer: AIOKafkaProducer, environment: dict[str, str]) -> None:
        self.settings = settings
        self.pool = pool
        self._producer = producer
        self._environment = environment
        self._chance = random.Random(20260504)
        self.produced = 0

    def frame(self, events: int = 5, *, shard: int) -> bytes:
        """A frame of random events of one shard's readers; some are late, some repeat, most are neither."""
        at_ms = now_ms()
        rows = new_events(events)
        for row in range(events):
            rows["occurred_at"][row] = at_ms - self._chance.choice([0, 1_000, 400_000, 4_000_000])
            rows["kind"][row] = self._chance.randrange(len(KINDS))
            rows["verdict"][row] = self._chance.randrange(len(VERDICTS))
            rows["run_id"][row] = self._chance.randrange(3)
            rows["destination"][row] = self._chance.randrange(50) * self.settings.audience_shards + shard
            rows["flags"][row] = self._chance.random() < 0.2
            rows["event_id"][row, :2] = self._chance.randrange(20), shard
        return encode_frame("tests", at_ms, rows)

    async def produce(self, values: Sequence[bytes | None], *, partition: int) -> None:
        """Append records to a partition and wait until the broker has them."""
        topic = full_name(self.settings, ENGAGEMENT_RECORDED)
        for value in values:
            self.produced += 1
            number = f"{partition}-{self.produced % 23}"
            headers = [("ce_id", number.encode()), ("ce_source", b"tidewire/ledger")] if self.produced % 3 else []
            await self._producer.send(topic, value, key=b"any", partition=partition, headers=headers)
        await self._producer.flush()

    async def append(self, records: Sequence[tuple[bytes, str]], *, partition: int) -> None:
        """Append the ledger's frames by their numbers, each of which is one frame for good."""
        topic = full_name(self.settings, ENGAGEMENT_RECORDED)
        for value, number in records:
            self.produced += 1
            headers = [("ce_id", number.encode()), ("ce_source", b"tidewire/ledger")]
            await self._producer.send(topic, value, partition=partition, headers=headers)
        await self._producer.flush()

    async def produce_frames(self, count: int) -> None:
        """Append as many frames to each partition."""
        for shard in range(self.settings.audience_shards):
            await self.produce([self.frame(shard=shard) for _ in range(count)], partition=shard)

    def worker(self, *mutation: str, **settings: str) -> AbstractAsyncContextManager[StreamWorker]:
        """A worker process, or one with these mutations."""
        return stream_worker((MUTANT, *mutation) if mutation else WORKER, self._environment, **settings)

    async def drained(self) -> None:
        """Wait until the stored offsets have reached the end of what was produced."""

        async def is_drained() -> bool:
            return await self.offsets() == self.produced

        await eventually(is_drained, what="the stored offsets reach the end of the log")

    async def offsets(self) -> int:
        """The sum of the stored offsets."""
        sql = "SELECT coalesce(sum(next_offset), 0) FROM stream_offsets WHERE consumer = $1"
        return int(await self.pool.fetchval(sql, NAME))

    async def recount(self) -> dict[tuple[object, ...], tuple[int, ...]]:
        """What the windows must hold by the log alone."""
        frames: dict[int, list[Any]] = {}
        for record in sorted(await drained(self.settings, ENGAGEMENT_RECORDED), key=lambda record: record.offset):
            record.__dict__["timestamp"] = record.timestamp / 1000
            try:
                frames.setdefault(record.partition, []).append(decode(record))
            except SchemaError:
                continue
        truth = Recount()
        for partition in sorted(frames):
            truth.recount(frames[partition])
        return dict(truth.rows())

    async def windows(self) -> dict[tuple[object, ...], tuple[int, ...]]:
        """What the windows hold."""
        rows = await self.pool.fetch(
            f"SELECT grain, (extract(epoch FROM window_start) * 1000)::bigint, {COLUMNS}, {MEASURES},"  # noqa: S608
            " (extract(epoch FROM first_at) * 1000)::bigint, (extract(epoch FROM last_at) * 1000)::bigint"
            " FROM publishing_analytics"
        )
        return {tuple(row)[:8]: tuple(row)[8:] for row in rows}

    async def dead_letters(self) -> list[Any]:
        """The records of the dead-letter topic."""
        return await drained(self.settings, ENGAGEMENT_RECORDED.dlq)


@pytest.fixture
async def stage(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: Callable[..., Awaitable[None]]
) -> AsyncIterator[Stage]:
    """A stage with its topic."""
    await make_topics(ENGAGEMENT_RECORDED)
    async with open_producer(settings) as producer:
        yield Stage(settings, pool, producer, environment)
