"""Fakes of what the frame of a stream app stands on: records, a database with a fence, a DLQ, time."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from faust.types import TP

from publishing.domain.poison import PoisonLimit
from publishing.runtime.burial import Burial, Headers
from publishing.stores.offsets import Place
from streams.fenced import Fence
from streams.guard import Batch, Guard, PoisonLimitError, StreamRecord, Surroundings, poison_limit
from topics.catalog import ENGAGEMENT_RECORDED

PREFIX = "x."
PARTITION = TP(PREFIX + ENGAGEMENT_RECORDED.name, 3)
PLACE = Place(ENGAGEMENT_RECORDED.name, 3)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@dataclass(slots=True)
class FakeRecord:
    """A consumed record; its value is its offset in text unless it is given."""

    offset: int
    value: bytes | None = b"good"
    topic: str = PARTITION.topic
    partition: int = PARTITION.partition
    timestamp: float = 0.0
    headers: object = field(default_factory=list)
    key: bytes | None = None


def records_of(*values: bytes, first: int = 0) -> list[StreamRecord]:
    """Records with these values at offsets from `first`."""
    return [FakeRecord(first + place, value) for place, value in enumerate(values)]


class FakeDatabase:
    """An offset with compare-and-set, and the values applied under it; errors and rivals come as they are scripted."""

    def __init__(self) -> None:
        self.next_offset = 0
        self.applied: list[bytes] = []
        self.refused: dict[bytes, Exception] = {}
        self.failures: list[Exception] = []
        self.failures_after_commit: list[Exception] = []
        self.loads = 0

    async def load(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """The stored offset for every place asked for."""
        self.loads += 1
        return dict.fromkeys(places, self.next_offset)

    async def write(self, batch: Batch[bytes]) -> bool:
        """One statement: all or nothing."""
        if self.failures:
            raise self.failures.pop(0)
        for item in batch.items:
            if item.value in self.refused:
                raise self.refused[item.value]
        if self.next_offset != batch.expected:
            return False
        self.next_offset = batch.after
        self.applied.extend(item.value for item in batch.items)
        if self.failures_after_commit:
            raise self.failures_after_commit.pop(0)
        return True


@dataclass(slots=True)
class FakeDlq:
    """What was buried, and errors that the broker answers first."""

    sent: list[tuple[str, bytes, bytes, Headers]] = field(default_factory=list)
    failures: list[Exception] = field(default_factory=list)

    async def send(self, topic: str, value: bytes, key: bytes, headers: Headers) -> object:
        """Take a record, or fail as scripted."""
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append((topic, value, key, list(headers)))
        return None

    @property
    def offsets(self) -> list[int]:
        """The source offsets of what was buried."""
        return [int(dict(headers)["source_offset"]) for _, _, _, headers in self.sent]


class FakeWorld:
    """Time that passes only in sleep, and a stop that is noted."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept_s: list[float] = []
        self.stopped_by: list[PoisonLimitError] = []

    async def sleep(self, seconds: float) -> None:
        """Let the time pass at once."""
        self.slept_s.append(seconds)
        self.now_s += seconds

    async def stop(self, error: PoisonLimitError) -> None:
        """Note that the process would have ended."""
        self.stopped_by.append(error)

    def surroundings(self, seed: int = 1) -> Surroundings:
        """This world, as a guard is given it."""
        return Surroundings(self.sleep, lambda: self.now_s, random.Random(seed), self.stop)


class Bench:
    """A guard over fakes: a database, a DLQ and a world."""

    def __init__(self, decode: object, *, limit: PoisonLimit | None = None) -> None:
        self.database = FakeDatabase()
        self.dlq = FakeDlq()
        self.world = FakeWorld()
        self.fence = Fence(PREFIX, self.database.load)
        self.fence.watch(ENGAGEMENT_RECORDED)
        self.guard: Guard[bytes] = Guard(
            "engagement",
            decode,  # type: ignore[arg-type]  # a test's decoder
            fence=self.fence,
            burial=Burial(PREFIX, self.dlq.send, lambda: NOON),
            limit=limit or poison_limit(),
            world=self.world.surroundings(),
        )

    async def take(self, records: Sequence[StreamRecord]) -> None:
        """Pass records of the one partition through the guard."""
        await self.guard.guarded(PARTITION, records, self.database.write)
