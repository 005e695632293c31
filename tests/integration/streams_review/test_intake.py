"""Content intake against the real broker and database: what is stored, numbered, broadcast and buried."""

import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer

from publishing.runtime.settings import Settings
from schemas.codec import decode, encode
from schemas.messages import ContentReady, ContentSubmitted
from tests.fakes.content_items import submitted
from tests.fakes.streams_worker import eventually, stream_worker
from tests.fakes.topic_reader import drained
from topics.catalog import CONTENT_READY, CONTENT_SUBMITTED

pytestmark = pytest.mark.integration

REVIEW = ("-m", "streams.review")
MakeTopics = Callable[..., Awaitable[None]]


@pytest.fixture
async def producer(settings: Settings) -> AsyncIterator[AIOKafkaProducer]:
    """A producer that knows nothing of the project."""
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka) as opened:
        yield opened


def as_json(item: ContentSubmitted) -> bytes:
    """The item as a foreign program would write it."""
    return json.dumps(
        {
            "source": item.source,
            "id": item.id,
            "version": item.version,
            "type": item.type.value,
            "title": item.title,
            "url": item.url,
            "topics": dict(item.topics),
            "language": item.language,
            "published_at": item.published_at.isoformat(),
        }
    ).encode()


async def stored_items(pool: asyncpg.Pool) -> list[Any]:
    """What the content table holds."""
    return list(await pool.fetch("SELECT * FROM publishing_content ORDER BY external_id"))


async def test_avro_and_json_are_stored_and_reach_every_shard_once(
    settings: Settings,
    environment: dict[str, str],
    pool: asyncpg.Pool,
    make_topics: MakeTopics,
    producer: AIOKafkaProducer,
) -> None:
    """An item in either encoding is stored with a quality and broadcast to each shard; a known version is not."""
    await make_topics(CONTENT_SUBMITTED, CONTENT_READY)
    topic = CONTENT_SUBMITTED.named(settings.topic_prefix)
    await producer.send_and_wait(topic, encode(submitted(id="avro")), partition=0)
    await producer.send_and_wait(topic, as_json(submitted(id="json", topics={"go": 0.5})), partition=1)
    await producer.send_and_wait(topic, encode(submitted(id="avro")), partition=0)
    async with stream_worker(REVIEW, environment):
        await eventually(lambda: pool.fetchval("SELECT count(*) = 2 FROM publishing_content"), what="the database")
        await eventually(
            lambda: pool.fetchval(
                "SELECT count(*) >= 1 AND bool_and(emitted_at IS NOT NULL) FROM publishing_content_batches"
            ),
            what="the database",
        )
        await producer.send_and_wait(topic, encode(submitted(id="avro", version=2)), partition=0)
        await eventually(
            lambda: pool.fetchval("SELECT max(version) = 2 FROM publishing_content WHERE external_id = 'avro'"),
            what="the database",
        )
        await eventually(
            lambda: pool.fetchval("SELECT bool_and(emitted_at IS NOT NULL) FROM publishing_content_batches"),
            what="the database",
        )
    rows = await stored_items(pool)
    assert [row["external_id"] for row in rows] == ["avro", "json"]
    assert all(0 < row["quality"] <= 1 for row in rows)
    assert rows[1]["topics"] == {"go": 0.5}
    batches = await pool.fetch("SELECT batch_id FROM publishing_content_batches ORDER BY batch_id")
    numbers = [row["batch_id"] for row in batches]
    assert numbers == list(range(1, len(numbers) + 1))
    seen: dict[int, set[int]] = {}
    versions: dict[int, set[tuple[int, int]]] = {}
    for record in await drained(settings, CONTENT_READY):
        ready = decode(record.value, ContentReady)
        seen.setdefault(record.partition, set()).add(ready.batch_id)
        versions.setdefault(record.partition, set()).update((item.content_id, item.version) for item in ready.items)
    assert seen == {shard: set(numbers) for shard in range(settings.audience_shards)}
    assert len({frozenset(found) for found in versions.values()}) == 1
    assert len(versions[0]) == 3


async def test_poison_goes_alone_to_the_dead_letters_with_its_reason(
    settings: Settings,
    environment: dict[str, str],
    pool: asyncpg.Pool,
    make_topics: MakeTopics,
    producer: AIOKafkaProducer,
) -> None:
    """Bytes that are no item, and items that are unfit, are buried with the reason; their neighbours pass."""
    await make_topics(CONTENT_SUBMITTED, CONTENT_READY)
    topic = CONTENT_SUBMITTED.named(settings.topic_prefix)
    values = [
        encode(submitted(id="a")),
        b"\x00garbage",
        encode(submitted(id="b", title="  ")),
        b'{"source": 1}',
        encode(submitted(id="c", url="javascript:alert(1)")),
        encode(submitted(id="d", summary="bell \x07")),
        encode(submitted(id="e")),
    ]
    for value in values:
        await producer.send_and_wait(topic, value, partition=3)
    async with stream_worker(REVIEW, environment):
        await eventually(
            lambda: pool.fetchval(
                "SELECT next_offset = $1 FROM stream_offsets WHERE consumer = 'review' AND partition = 3", len(values)
            ),
            what="the database",
        )
    assert [row["external_id"] for row in await stored_items(pool)] == ["a", "e"]
    buried = await drained(settings, CONTENT_SUBMITTED.dlq)
    headers = [dict(record.headers) for record in buried]
    assert {int(one["source_offset"]): one["reason"].decode() for one in headers} == {
        1: "unknown_schema_id",
        2: "unfit_content",
        3: "malformed",
        4: "unfit_content",
        5: "unfit_content",
    }
    assert [record.value for record in buried] == [values[int(one["source_offset"])] for one in headers]
    errors = {int(one["source_offset"]): one["error"].decode() for one in headers}
    assert "title" in errors[2]
    assert "must not be empty" in errors[2]


@pytest.mark.parametrize(
    "point", ["review.after_poll", "review.before_commit", "review.after_commit", "review.after_emit"]
)
async def test_a_killed_worker_loses_no_item_and_numbers_none_twice(
    settings: Settings,
    environment: dict[str, str],
    pool: asyncpg.Pool,
    make_topics: MakeTopics,
    producer: AIOKafkaProducer,
    point: str,
) -> None:
    """Killed at each point, its successor stores and broadcasts every item, each version in one batch only."""
    await make_topics(CONTENT_SUBMITTED, CONTENT_READY)
    topic = CONTENT_SUBMITTED.named(settings.topic_prefix)
    for number in range(10):
        await producer.send_and_wait(topic, encode(submitted(id=f"i{number}")), partition=number % 2)
    async with stream_worker(REVIEW, environment, failpoints=f"{point}:1:KILL") as first:
        assert await first.exited() == -signal.SIGKILL
        assert f"HIT {point}" in first.lines
    async with stream_worker(REVIEW, environment):
        await eventually(lambda: pool.fetchval("SELECT count(*) = 10 FROM publishing_content"), what="the database")
        await eventually(
            lambda: pool.fetchval("SELECT bool_and(emitted_at IS NOT NULL) FROM publishing_content_batches"),
            what="the database",
        )
    batches: dict[int, set[int]] = {}
    for record in await drained(settings, CONTENT_READY):
        ready = decode(record.value, ContentReady)
        if record.partition == 0:
            batches.setdefault(ready.batch_id, set()).update(item.content_id for item in ready.items)
    assert sum(len(items) for items in batches.values()) == 10
    assert len(set().union(*batches.values())) == 10
