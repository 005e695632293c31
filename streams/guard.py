"""The guard around every write: nothing leaves an agent's body, poison goes alone, everything else waits its turn."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from faust.types import TP

from publishing.domain.poison import PoisonLimit
from publishing.runtime import metrics
from publishing.runtime.burial import Burial, PoisonError, Record
from publishing.runtime.logs import get_logger
from publishing.stores.offsets import DATA_ERRORS
from schemas.errors import SchemaError
from streams.fenced import Fence

# Outcomes unknown after this are settled by the fence, so that a hung connection costs one retry.
WRITE_LIMIT_S = 30.0
FIRST_BACKOFF_S = 0.05
MAX_BACKOFF_S = 2.0
# A poll of a stream brings hundreds of records of many producers: fewer would let one producer's batch stop everybody.
POISON_WINDOW_RECORDS = 200
POISON_LEAST = 100
POISON_RATIO = 0.5
# A trickle of poison over hours is no bad deploy.
POISON_WINDOW_S = 600.0
POISON: tuple[type[Exception], ...] = (SchemaError, PoisonError, *DATA_ERRORS)

T = TypeVar("T")

log = get_logger(__name__)


class StreamRecord(Record, Protocol):
    """A consumed record as Faust gives it; `timestamp` is in seconds since 1970."""

    timestamp: float


class PoisonLimitError(Exception):
    """Most of the stream is poison: mend or roll back what produces or reads it, then start the worker again."""


@dataclass(frozen=True, slots=True)
class Item(Generic[T]):
    """One decoded record."""

    record: StreamRecord
    value: T

    @property
    def offset(self) -> int:
        """The record's offset in its partition."""
        return self.record.offset


@dataclass(frozen=True, slots=True)
class Batch(Generic[T]):
    """What one statement applies: the good records of [expected, after) in offset order; there may be none."""

    tp: TP
    expected: int
    after: int
    items: Sequence[Item[T]]


Decode = Callable[[StreamRecord], T]
Write = Callable[[Batch[T]], Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a guard is given of the world: sleeping, a monotonic clock, seeded chance, and how the process stops."""

    sleep: Callable[[float], Awaitable[None]]
    monotonic_s: Callable[[], float]
    chance: random.Random
    stop: Callable[[PoisonLimitError], Awaitable[None]]


def poison_limit() -> PoisonLimit:
    """The limit of one worker of a stream: all its guards share one."""
    return PoisonLimit(
        window_records=POISON_WINDOW_RECORDS, window_s=POISON_WINDOW_S, least=POISON_LEAST, ratio=POISON_RATIO
    )


def backoff_s(attempt: int, chance: random.Random) -> float:
    """Full jitter: uniform in [0, min(2 s, 50 ms * 2^attempt)]; attempt 3 waits at most 400 ms.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return chance.uniform(0, min(MAX_BACKOFF_S, FIRST_BACKOFF_S * 2 ** min(attempt, 10)))


@dataclass(slots=True)
class _Pass(Generic[T]):
    """One call of the guard: what is decoded, and what is poison and whether it was counted and buried."""

    tp: TP
    write: Write[T]
    decoded: dict[int, Item[T]] = field(default_factory=dict)
    poison: dict[int, Exception] = field(default_factory=dict)
    noted: set[int] = field(default_factory=set)
    buried: set[int] = field(default_factory=set)


class Guard(Generic[T]):
    """Applies the records of one consumer: decode, write, retry in place, bisect to the poison, bury it."""

    def __init__(
        self, consumer: str, decode: Decode[T], *, fence: Fence, burial: Burial, limit: PoisonLimit, world: Surroundings
    ) -> None:
        self._consumer = consumer
        self._decode = decode
        self._fence = fence
        self._burial = burial
        self._limit = limit
        self._world = world

    async def guarded(self, tp: TP, records: Sequence[StreamRecord], write: Write[T]) -> None:
        """Apply the records of one partition, in offset order, with `write(batch)`; never raises.

        `write` is one statement, all or nothing; it returns False when the fence was lost. This returns only when every
        record is applied, was applied before, or is buried: until then the records stay unacknowledged.
        """
        started_s = self._world.monotonic_s()
        try:
            await self._apply(_Pass(tp, write), records)
        except PoisonLimitError as error:
            log.critical("poison.limit_exceeded", topic=tp.topic, partition=tp.partition, remedy=str(error.__doc__))
            await self._world.stop(error)
        metrics.BATCH_SECONDS.labels(self._consumer).observe(self._world.monotonic_s() - started_s)

    async def _apply(self, work: _Pass[T], records: Sequence[StreamRecord]) -> None:
        attempt = 0
        due = records
        while True:
            try:
                async with asyncio.timeout(WRITE_LIMIT_S):
                    due = await self._due(work.tp, records)
                    if not due or await self._write(work, due):
                        return
                    metrics.FENCES_LOST.labels(self._consumer).inc()
                    log.warning("fence.lost", topic=work.tp.topic, partition=work.tp.partition)
                    await self._fence.reload(work.tp)
            except PoisonLimitError:
                raise
            except POISON as error:
                if len(due) > 1:
                    middle = len(due) // 2
                    await self._apply(work, due[:middle])
                    await self._apply(work, due[middle:])
                    return
                work.poison[due[0].offset] = error
            except Exception as error:  # noqa: BLE001 - nothing may leave an agent's body: Faust would drop the batch
                metrics.RETRIES.labels(self._consumer).inc()
                log.warning("batch.retried", error=type(error).__name__, attempt=attempt, partition=work.tp.partition)
                await self._world.sleep(backoff_s(attempt, self._world.chance))
                attempt += 1

    async def _due(self, tp: TP, records: Sequence[StreamRecord]) -> Sequence[StreamRecord]:
        if not self._fence.is_loaded(tp):
            await self._fence.reload(tp)
        expected = self._fence.expected(tp)
        due = [record for record in records if record.offset >= expected]
        self._count(tp, "replayed", len(records) - len(due))
        return due

    async def _write(self, work: _Pass[T], due: Sequence[StreamRecord]) -> bool:
        for record in due:
            self._decode_once(work, record)
            if record.offset in work.poison:
                await self._bury_once(work, record)
        items = [work.decoded[record.offset] for record in due if record.offset not in work.poison]
        after = due[-1].offset + 1
        if not await work.write(Batch(work.tp, self._fence.expected(work.tp), after, items)):
            return False
        self._fence.advanced(work.tp, after)
        self._count(work.tp, "applied", len(items))
        self._count(work.tp, "buried", len(due) - len(items))
        for _ in items:
            self._limit.note(is_poison=False, now_s=self._world.monotonic_s())
        return True

    def _decode_once(self, work: _Pass[T], record: StreamRecord) -> None:
        if record.offset in work.decoded or record.offset in work.poison:
            return
        try:
            work.decoded[record.offset] = Item(record, self._decode(record))
        except POISON as error:
            work.poison[record.offset] = error

    async def _bury_once(self, work: _Pass[T], record: StreamRecord) -> None:
        if record.offset not in work.noted:
            work.noted.add(record.offset)
            self._limit.note(is_poison=True, now_s=self._world.monotonic_s())
        if self._limit.is_exceeded:
            raise PoisonLimitError from work.poison[record.offset]
        if record.offset not in work.buried:
            await self._burial.bury(record, work.poison[record.offset])
            work.buried.add(record.offset)

    def _count(self, tp: TP, outcome: str, records: int) -> None:
        if records:
            metrics.RECORDS.labels(self._consumer, self._fence.place(tp).topic, outcome).inc(records)
