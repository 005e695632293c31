"""Rows that the scheduler's tests start from, and what they read from the broker."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.structs import ConsumerRecord

from publishing.runtime.producer import open_producer
from publishing.runtime.settings import Settings
from topics.model import Topic

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A started producer."""
    async with open_producer(settings) as opened:
        yield opened


@pytest.fixture
def read_records(settings: Settings) -> Callable[..., Awaitable[list[ConsumerRecord]]]:
    """Read every record of a topic, from its beginning to what is its end now, by (partition, offset)."""

    async def read(topic: Topic) -> list[ConsumerRecord]:
        consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            name = topic.named(settings.topic_prefix)
            places = [TopicPartition(name, p) for p in range(topic.partition_count(settings.audience_shards))]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            records: list[ConsumerRecord] = []
            async with asyncio.timeout(20):
                while len(records) < sum(ends.values()):
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        records += batch
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            await consumer.stop()

    return read


@pytest.fixture
def add_publication(pool: asyncpg.Pool) -> Callable[..., Awaitable[int]]:
    """Insert a publication: `at`, scheduled and due at NOW unless told otherwise."""

    async def add(
        *, trigger: str = "at", status: str = "scheduled", due_at: dt.datetime | None = NOW, **more: Any
    ) -> int:
        definition = {"trigger": {"kind": trigger}, "channels": [], **more}
        number: int = await pool.fetchval(
            "INSERT INTO publishing_publications (name, status, definition, next_due_at, created_by)"
            " VALUES ('p', $1, $2, $3, 'tests') RETURNING id",
            status,
            definition,
            due_at,
        )
        return number

    return add


@pytest.fixture
def add_outbox(pool: asyncpg.Pool) -> Callable[..., Awaitable[int]]:
    """Insert a row into the outbox."""

    async def add(
        topic: str,
        *,
        partition: int = 0,
        payload: Any = None,
        frame: bytes | None = None,
        created_at: dt.datetime = NOW,
    ) -> int:
        number: int = await pool.fetchval(
            "INSERT INTO publishing_outbox (topic, partition, payload, frame, ce_source, traceparent, created_at)"
            " VALUES ($1, $2, $3, $4, 'tests', NULL, $5) RETURNING id",
            topic,
            partition,
            payload,
            frame,
            created_at,
        )
        return number

    return add


@pytest.fixture
def add_channel(pool: asyncpg.Pool) -> Callable[..., Awaitable[int]]:
    """Insert a channel of a kind."""

    async def add(kind: str) -> int:
        number: int = await pool.fetchval(
            "WITH d AS (SELECT CASE WHEN $1 <> 'email' THEN nextval('publishing_destination_numbers') END AS n)"
            " INSERT INTO publishing_channels (kind, name, config_sealed, destination, shard)"
            " SELECT $1, $1 || random(), '', n, n % 4 FROM d RETURNING id",
            kind,
        )
        return number

    return add


@pytest.fixture
def add_run(pool: asyncpg.Pool) -> Callable[..., Awaitable[int]]:
    """Insert a run of a publication, due at NOW."""

    async def add(publication: int, *, shards: int = 4, due_at: dt.datetime = NOW) -> int:
        number: int = await pool.fetchval(
            "INSERT INTO publishing_runs (run_day, publication_id, publication_version, due_at, shards)"
            " VALUES ($1, $2, 1, $3, $4) RETURNING id",
            NOW.date(),
            publication,
            due_at,
            shards,
        )
        return number

    return add


@pytest.fixture
def add_delivery(pool: asyncpg.Pool) -> Callable[..., Awaitable[None]]:
    """Insert a delivery in a state; columns by name."""

    async def add(run: int, publication: int, channel: int, destination: int, state: str, **columns: Any) -> None:
        fields: dict[str, Any] = {
            "run_day": NOW.date(),
            "run_id": run,
            "publication_id": publication,
            "channel_id": channel,
            "destination": destination,
            "state": state,
            "shard": destination % 4,
            "chunk": 0,
            "lane": "bulk",
            "content_ids": [1],
            "scores": [0.5],
            **columns,
        }
        names = ", ".join(fields)
        places = ", ".join(f"${n}" for n in range(1, len(fields) + 1))
        await pool.execute(f"INSERT INTO publishing_deliveries ({names}) VALUES ({places})", *fields.values())  # noqa: S608  - names of this file

    return add
