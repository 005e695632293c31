"""Buried records on a real broker: counted, shown, and sent again once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.cli import dlq
from publishing.runtime.producer import open_producer
from publishing.runtime.settings import Settings
from topics.catalog import CONTENT_READY, CONTENT_SUBMITTED
from topics.errors import MissingTopicError

pytestmark = pytest.mark.integration

MakeTopics = Callable[..., Awaitable[None]]
TRACE = ("traceparent", b"00-1-2-01")


async def bury(settings: Settings, key: bytes, payload: bytes, *, partition: int, truncated: bool = False) -> None:
    """Put a record into the DLQ of content.submitted.v1 as a process would."""
    where = [("source_topic", CONTENT_SUBMITTED.name.encode()), ("source_partition", str(partition).encode())]
    why = [("source_offset", b"7"), ("reason", b"malformed"), ("error", b"no"), ("failed_at", b"2026-01-01T00:00:00Z")]
    cut = [("truncated_from_bytes", b"9")] if truncated else []
    async with open_producer(settings) as producer:
        name = CONTENT_SUBMITTED.dlq.named(settings.topic_prefix)
        await producer.send_and_wait(name, payload, key=key, headers=[TRACE, *where, *why, *cut])


async def source_records(settings: Settings, partition: int) -> list[tuple[object, ...]]:
    """Payload and headers of what the source partition holds."""
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    await consumer.start()
    try:
        source = TopicPartition(CONTENT_SUBMITTED.named(settings.topic_prefix), partition)
        consumer.assign([source])
        end = (await consumer.end_offsets([source]))[source]
        consumer.seek(source, 0)
        found: list[tuple[object, ...]] = []
        while await consumer.position(source) < end:
            batch = await consumer.getmany(source, timeout_ms=5_000)
            found += [(record.value, tuple(record.headers)) for record in batch.get(source, ())]
        return found
    finally:
        await consumer.stop()


async def test_a_buried_record_goes_back_once(settings: Settings, make_topics: MakeTopics) -> None:
    """The raw bytes return to their partition without the burial's headers; a second call sends nothing."""
    await make_topics(CONTENT_SUBMITTED)
    await bury(settings, b"a/3/7", b"\x00raw", partition=3)
    await bury(settings, b"a/3/7", b"\x00raw", partition=3)
    await bury(settings, b"a/3/8", b"\x00ra", partition=3, truncated=True)
    assert await dlq.count_all(settings, [CONTENT_SUBMITTED]) == [dlq.Count(CONTENT_SUBMITTED.name, 3, 3)]
    assert await dlq.send_again(settings, CONTENT_SUBMITTED) == 1
    assert await source_records(settings, 3) == [(b"\x00raw", (TRACE,))]
    assert await dlq.count_all(settings, [CONTENT_SUBMITTED]) == [dlq.Count(CONTENT_SUBMITTED.name, 3, 0)]
    assert await dlq.send_again(settings, CONTENT_SUBMITTED) == 0
    await bury(settings, b"a/3/7", b"\x00raw", partition=3)
    assert await dlq.send_again(settings, CONTENT_SUBMITTED) == 0
    await bury(settings, b"a/5/1", b"\x01", partition=5)
    assert await dlq.send_again(settings, CONTENT_SUBMITTED) == 1
    assert await source_records(settings, 5) == [(b"\x01", (TRACE,))]


async def test_the_newest_records_are_shown_without_their_bytes(settings: Settings, make_topics: MakeTopics) -> None:
    """Headers and size come back oldest first; the bytes only when asked for."""
    await make_topics(CONTENT_SUBMITTED)
    for number in range(4):
        await bury(settings, str(number).encode(), b"x" * number, partition=number)
    shown = await dlq.newest(settings, CONTENT_SUBMITTED, limit=2, payload=False)
    assert [(record.offset, record.size_bytes, record.payload) for record in shown] == [(2, 2, None), (3, 3, None)]
    assert shown[1].headers["source_partition"] == "3"
    shown = await dlq.newest(settings, CONTENT_SUBMITTED, limit=1, payload=True)
    assert [record.payload for record in shown] == ["787878"]


async def test_an_empty_dlq_shows_nothing(settings: Settings, make_topics: MakeTopics) -> None:
    """Nothing buried: no records, no counts, nothing sent, and each at once."""
    await make_topics(CONTENT_SUBMITTED)
    assert await dlq.newest(settings, CONTENT_SUBMITTED, limit=5, payload=True) == []
    assert await dlq.count_all(settings, [CONTENT_SUBMITTED, CONTENT_READY]) == []
    assert await dlq.send_again(settings, CONTENT_SUBMITTED) == 0


async def test_a_missing_dlq_is_said(settings: Settings) -> None:
    """A topic that was never applied is named, instead of waiting for it."""
    with pytest.raises(MissingTopicError):
        await dlq.newest(settings, CONTENT_READY, limit=1, payload=False)
