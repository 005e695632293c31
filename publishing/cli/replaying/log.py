"""The kept log of engagement on the brokers: where each partition begins, and its records in offset order."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import OffsetOutOfRangeError

from publishing.cli.failures import CommandError
from publishing.runtime.settings import Settings
from topics.catalog import ENGAGEMENT_RECORDED
from topics.errors import MissingTopicError

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

FETCH_BYTES: Final = 8 << 20
BATCH_RECORDS: Final = 2_000
ANSWER_MS: Final = 10_000


class ShortLogError(CommandError):
    """Partition {partition} holds nothing from offset {offset} on, but the engagement app has applied more.

    The brokers' log is not the one that the database was fed from, or it was cut while it was read: run it again.
    """

    def __init__(self, partition: int, offset: int) -> None:
        super().__init__(partition, offset)
        self.partition = partition
        self.offset = offset


class Log:
    """Reads one installation's engagement.recorded; one partition after another."""

    def __init__(self, consumer: AIOKafkaConsumer, places: Sequence[TopicPartition]) -> None:
        self._consumer = consumer
        self._places = {place.partition: place for place in places}

    @property
    def partitions(self) -> list[int]:
        """The numbers of the partitions, ascending."""
        return sorted(self._places)

    async def begins(self) -> dict[int, int]:
        """The first kept offset of each partition; above 0 where retention has cut the log."""
        found = await self._consumer.beginning_offsets(list(self._places.values()))
        return {place.partition: offset for place, offset in found.items()}

    async def ends(self) -> dict[int, int]:
        """The offset after the last record of each partition."""
        found = await self._consumer.end_offsets(list(self._places.values()))
        return {place.partition: offset for place, offset in found.items()}

    async def appended_ms(self, partition: int, offset: int) -> int | None:
        """When the record at an offset was appended, ms since 1970; None when the log ends before it."""
        if (await self.ends())[partition] <= offset:
            return None
        async for batch in self.read(partition, offset, offset + 1):
            return int(batch[0].timestamp)
        return None

    async def read(self, partition: int, begin: int, end: int) -> AsyncIterator[Sequence[ConsumerRecord]]:
        """The records of [begin, end) in offset order, in batches; raises ShortLogError when they are not all there."""
        place, position = self._places[partition], begin
        self._consumer.assign([place])
        self._consumer.seek(place, begin)
        while position < end:
            try:
                found = await self._consumer.getmany(place, timeout_ms=ANSWER_MS, max_records=BATCH_RECORDS)
            except OffsetOutOfRangeError as error:
                raise ShortLogError(partition, position) from error
            records = [record for record in found.get(place, ()) if record.offset < end]
            if not records and await self._consumer.position(place) < end:
                raise ShortLogError(partition, position)
            if records:
                yield records
            position = await self._consumer.position(place)


@asynccontextmanager
async def open_log(settings: Settings) -> AsyncIterator[Log]:
    """The installation's log; raises MissingTopicError when the brokers do not have it."""
    name = ENGAGEMENT_RECORDED.named(settings.topic_prefix)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        enable_auto_commit=False,
        auto_offset_reset="none",
        max_partition_fetch_bytes=FETCH_BYTES,
    )
    try:
        await consumer.start()
        if name not in await consumer.topics():
            raise MissingTopicError([name])
        count = ENGAGEMENT_RECORDED.partition_count(settings.audience_shards)
        places = [TopicPartition(name, number) for number in range(count)]
        consumer.assign(places)
        yield Log(consumer, places)
    finally:
        await consumer.stop()
