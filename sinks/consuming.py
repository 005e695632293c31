"""The consumer of one delivery topic: offsets from the database, one frame at a time in each partition."""

import asyncio
from collections.abc import Iterable, Sequence
from random import Random
from typing import Any, Protocol

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import KafkaError

from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from publishing.runtime.settings import Settings
from publishing.stores.deliveries import FenceLostError
from publishing.stores.offsets import Place, Pool, load_offsets
from sinks.leaving import Leave
from sinks.patience import LeftError, patiently
from topics.model import Topic

RECORDS_AT_ONCE = 16
IDLE_POLL_MS = 500
BUSY_POLL_MS = 25
# A worker waits this long for its frames when it stops; with the grace of an answer before it, 10 s at most.
STOP_S = 9.0
# The fence protects a slow worker's partitions, so only a dead one has to lose them.
MAX_POLL_INTERVAL_MS = 900_000
SESSION_TIMEOUT_MS = 10_000

log = get_logger(__name__)


class BurialLimitError(Exception):
    """Too much of this topic is poison: nothing more is buried and no offset advances; look at the last deployment."""


class FrameWork(Protocol):
    """What is done with one record: the offset after it is in the fence when this returns."""

    async def __call__(self, record: Any, place: Place, *, expected: int, leave: Leave) -> None:
        """Work on a record whose partition's fence stands at `expected`; raises FenceLostError, BurialLimitError."""
        ...


class Partition:
    """One assigned partition: where its fence stands, the work on its records, and its end."""

    def __init__(self, next_offset: int) -> None:
        self.next_offset = next_offset
        self.leave = Leave()
        self.task: asyncio.Task[None] | None = None

    @property
    def is_free(self) -> bool:
        """Whether new records may be given to it."""
        return (self.task is None or self.task.done()) and not self.leave.is_asked


class Consumption(ConsumerRebalanceListener):  # type: ignore[misc]  # aiokafka has no types
    """Consumes a topic until it is told to leave, or until a fatal error, which run raises."""

    def __init__(self, settings: Settings, pool: Pool, *, topic: Topic, consumer: str, work: FrameWork) -> None:
        self._pool = pool
        self._topic = topic
        self._name = consumer
        self._work = work
        self._leave = Leave()
        self._partitions: dict[TopicPartition, Partition] = {}
        self._fatal: Exception | None = None
        self._random = Random()  # noqa: S311  - spreads retries, guards nothing
        self._full_name = topic.named(settings.topic_prefix)
        self._kafka = AIOKafkaConsumer(
            bootstrap_servers=settings.kafka,
            group_id=f"{settings.topic_prefix}tidewire-{consumer}",
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            max_poll_interval_ms=MAX_POLL_INTERVAL_MS,
            session_timeout_ms=SESSION_TIMEOUT_MS,
            heartbeat_interval_ms=SESSION_TIMEOUT_MS // 4,
        )

    @property
    def assigned(self) -> int:
        """How many partitions are ours."""
        return len(self._partitions)

    def stop(self) -> None:
        """Begin to leave: nothing new is taken, what is at hand is finished or given back."""
        self._leave.ask()
        for partition in self._partitions.values():
            partition.leave.ask()

    async def run(self) -> None:
        """Consume until stopped; raises BurialLimitError when too much of the topic is poison."""
        await self._kafka.start()
        try:
            self._kafka.subscribe([self._full_name], listener=self)
            while not self._leave.is_asked:
                await self._take()
        finally:
            self.stop()
            await self._finish(self._partitions.values())
            await self._kafka.stop()
        if self._fatal is not None:
            raise self._fatal

    async def _take(self) -> None:
        """Give new records to the partitions that are free."""
        free = [place for place, partition in self._partitions.items() if partition.is_free]
        if not free:
            tasks = [p.task for p in self._partitions.values() if p.task is not None]
            if tasks:
                await asyncio.wait(tasks, timeout=IDLE_POLL_MS / 1_000, return_when=asyncio.FIRST_COMPLETED)
            else:
                await self._leave.sleep(BUSY_POLL_MS / 1_000)
            return
        timeout_ms = IDLE_POLL_MS if len(free) == len(self._partitions) else BUSY_POLL_MS
        try:
            batches = await self._kafka.getmany(*free, timeout_ms=timeout_ms, max_records=RECORDS_AT_ONCE)
        except KafkaError as error:
            log.warning("poll.failed", error=type(error).__name__)
            await self._leave.sleep(IDLE_POLL_MS / 1_000)
            return
        for place, records in batches.items():
            partition = self._partitions.get(place)
            if partition is not None and partition.is_free:
                partition.task = asyncio.create_task(self._work_on(place, partition, records))

    async def _work_on(self, place: TopicPartition, partition: Partition, records: Sequence[Any]) -> None:
        try:
            for record in records:
                if partition.leave.is_asked:
                    return
                if record.offset < partition.next_offset:
                    metrics.RECORDS.labels(self._name, self._topic.name, "replayed").inc()
                    continue
                await self._work(
                    record,
                    Place(self._topic.name, place.partition),
                    expected=partition.next_offset,
                    leave=partition.leave,
                )
                partition.next_offset = record.offset + 1
            await self._commit(place, partition)
        except FenceLostError:
            metrics.FENCES_LOST.labels(self._name).inc()
            log.warning("fence.lost", topic=self._topic.name, partition=place.partition)
            await self._return_to_fence(place, partition)
        except LeftError:
            return
        except BurialLimitError as error:
            self._fatal = error
            self.stop()
        except Exception as error:  # noqa: BLE001  - the loop lives on: whatever was claimed is found by its lease
            log.warning("frame.failed", error=type(error).__name__, partition=place.partition)
            await self._return_to_fence(place, partition)

    async def _return_to_fence(self, place: TopicPartition, partition: Partition) -> None:
        """Go on where the database says; a short pause keeps a worker whose partition has moved from spinning."""
        await partition.leave.sleep(self._random.uniform(0.2, 0.6))
        stored = Place(self._topic.name, place.partition)
        try:
            offsets = await patiently(
                lambda: load_offsets(self._pool, self._name, [stored]),
                leave=partition.leave,
                consumer=self._name,
                random=self._random,
            )
        except LeftError:
            return
        if self._partitions.get(place) is partition and not partition.leave.is_asked:
            partition.next_offset = offsets[stored]
            self._kafka.seek(place, partition.next_offset)

    async def _commit(self, place: TopicPartition, partition: Partition) -> None:
        """Tell the group where we are: a measure of lag, read by nobody who decides."""
        try:
            await self._kafka.commit({place: partition.next_offset})
        except KafkaError as error:
            log.info("commit.failed", error=type(error).__name__)

    async def _finish(self, partitions: Iterable[Partition]) -> None:
        tasks = [p.task for p in partitions if p.task is not None and not p.task.done()]
        if not tasks:
            return
        _, pending = await asyncio.wait(tasks, timeout=STOP_S)
        for task in pending:
            task.cancel()
        if pending:
            await asyncio.wait(pending, timeout=1.0)

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Finish or give back what is at hand before another worker goes on."""
        leaving = [self._partitions.pop(place) for place in revoked if place in self._partitions]
        for partition in leaving:
            partition.leave.ask()
        await self._finish(leaving)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Seek each partition to its fence before its first record."""
        places = {Place(self._topic.name, place.partition): place for place in assigned}
        if not places:
            return
        try:
            offsets = await patiently(
                lambda: load_offsets(self._pool, self._name, list(places)),
                leave=self._leave,
                consumer=self._name,
                random=self._random,
            )
        except LeftError:
            return
        for place, next_offset in offsets.items():
            self._kafka.seek(places[place], next_offset)
            self._partitions[places[place]] = Partition(next_offset)
        log.info("partitions.assigned", topic=self._topic.name, partitions=sorted(p.partition for p in places))
