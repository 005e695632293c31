"""Owns the topic of hits on the broker: frames are sent under their numbers, and found again by them."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaConnectionError

from ingest_api.spool_log import SpooledFrame
from publishing.runtime.clock import utc_now
from publishing.runtime.correlation import CORRELATION, header, record_headers
from publishing.runtime.producer import full_name
from publishing.runtime.settings import Settings
from topics.catalog import ENGAGEMENT_RECORDED

TYPE = "tidewire.EngagementRecorded"
# The engagement app counts a frame of such a source once, however often it comes.
REPEATING_SOURCE = "tidewire/spool"
# What a broker that has just come back may still be reading from the connections of before is in the log by then.
SETTLE_S = 1.0
# Records bear the time of their producer, which is this host's: the clock may have been set back by so much.
CLOCK_SLACK_MS = 60_000


class FrameTopic:
    """The topic as BrokerFirst sees it; the producer may still be away."""

    def __init__(self, opened: Callable[[], AIOKafkaProducer | None], settings: Settings) -> None:
        """Keep how to get at the producer, and the topic's full name."""
        self._opened = opened
        self._bootstrap = settings.kafka
        self._topic = full_name(settings, ENGAGEMENT_RECORDED)
        self._source = f"ingest_api/{settings.instance}"
        self._repeating_source = f"{REPEATING_SOURCE}/{settings.instance}"

    def is_open(self) -> bool:
        """Whether the producer has connected."""
        return self._opened() is not None

    async def send(self, one: SpooledFrame, *, is_repeat: bool) -> Awaitable[Any]:
        """Queue a frame on its shard's partition; raises KafkaError, or what is returned does."""
        producer = self._opened()
        if producer is None:
            raise KafkaConnectionError
        source = self._repeating_source if is_repeat else self._source
        number = one.number.hex()
        # A frame of many hits begins a trace: its number, which is random, names it.
        token = None if CORRELATION.get() else CORRELATION.set(f"00-{number}-{number[:16]}-01")
        headers = record_headers(TYPE, ce_id=number, ce_source=source, now=utc_now())
        if token is not None:
            CORRELATION.reset(token)
        queued: Awaitable[Any] = await producer.send(self._topic, one.frame, partition=one.shard, headers=headers)
        return queued

    async def found(self, frames: Sequence[SpooledFrame]) -> set[bytes]:
        """The numbers of those frames that are in the log, read from a minute before the oldest of each shard."""
        await asyncio.sleep(SETTLE_S)
        wanted = {one.number.hex() for one in frames}
        since_ms: dict[TopicPartition, int] = {}
        for one in frames:
            place = TopicPartition(self._topic, one.shard)
            since_ms[place] = min(since_ms.get(place, one.kept_at_ms), one.kept_at_ms)
        consumer = AIOKafkaConsumer(bootstrap_servers=self._bootstrap, enable_auto_commit=False)
        await consumer.start()
        try:
            consumer.assign(list(since_ms))
            starts = await consumer.offsets_for_times({tp: max(0, at - CLOCK_SLACK_MS) for tp, at in since_ms.items()})
            ends = await consumer.end_offsets(list(since_ms))
            left = {tp: ends[tp] for tp, start in starts.items() if start is not None and start.offset < ends[tp]}
            consumer.pause(*(tp for tp in since_ms if tp not in left))
            for tp in left:
                consumer.seek(tp, starts[tp].offset)
            return await _numbers(consumer, left, wanted)
        finally:
            await consumer.stop()


async def _numbers(consumer: AIOKafkaConsumer, left: dict[TopicPartition, int], wanted: set[str]) -> set[bytes]:
    """The wanted ids among the records up to the end of each partition."""
    found: set[bytes] = set()
    while left:
        for records in (await consumer.getmany(timeout_ms=500)).values():
            numbers = {header(record.headers, "ce_id") for record in records}
            found |= {bytes.fromhex(number) for number in wanted if number in numbers}
        for tp in [tp for tp, end in left.items() if await consumer.position(tp) >= end]:
            del left[tp]
            consumer.pause(tp)
    return found
