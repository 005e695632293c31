"""The fence of an app: the next offsets it expects, and the consumer that starts at them and nowhere else."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

from faust.transport.drivers.aiokafka import Consumer, Transport
from faust.types import TP
from faust.types.tuples import ConsumerMessage

from publishing.runtime.logs import get_logger
from publishing.stores.offsets import Place
from streams.gathering import Gathered, GatheredMessage, gather
from topics.model import Topic

# Shorter than the session timeout of 10 s: a worker that cannot load its offsets is gone before it is missed.
ASSIGNMENT_LIMIT_S = 8.0

Load = Callable[[Sequence[Place]], Awaitable[Mapping[Place, int]]]
OnAssigned = Callable[[frozenset[TP]], Awaitable[None]]

log = get_logger(__name__)


class UnloadedPlaceError(Exception):
    """A partition was written before its offset was loaded: only assigned partitions of fenced topics may be."""

    def __init__(self, place: Place) -> None:
        super().__init__(f"{self.__doc__} ({place.topic}/{place.partition})")
        self.place = place


class Fence:
    """The next offset of every partition that this process owns, as PostgreSQL last told it."""

    def __init__(self, prefix: str, load: Load) -> None:
        self._prefix = prefix
        self._load = load
        self._reload = load
        self._topics: set[str] = set()
        self._gathered: dict[str, int] = {}
        self._next: dict[Place, int] = {}

    def watch(self, topic: Topic) -> None:
        """Fence a topic: its positions come from PostgreSQL, not from the consumer group."""
        self._topics.add(topic.name)

    def gather(self, topic: Topic, max_bytes: int) -> None:
        """Give the records of a fenced topic to its agent in parts of at most so many bytes of values."""
        self._gathered[topic.named(self._prefix)] = max_bytes

    def gathered_bytes(self, tp: TP) -> int | None:
        """How many bytes of a partition's values are one message; None where each record is its own."""
        return self._gathered.get(tp.topic)

    def reload_with(self, reload: Load) -> None:
        """After a lost fence load by this instead: offsets and state kept in memory, from one snapshot.

        It may return more places than it is asked for; every one it returns is taken.
        """
        self._reload = reload

    def load_with(self, load: Load) -> None:
        """Load by this at assignment and after a lost fence, where the positions come with more than offsets."""
        self._load = self._reload = load

    def place(self, tp: TP) -> Place:
        """The catalogue's name of a partition."""
        return Place(tp.topic.removeprefix(self._prefix), tp.partition)

    def is_watched(self, tp: TP) -> bool:
        """Whether the partition's position comes from PostgreSQL."""
        return tp.topic.startswith(self._prefix) and self.place(tp).topic in self._topics

    def is_loaded(self, tp: TP) -> bool:
        """Whether the partition's offset is known."""
        return self.place(tp) in self._next

    def expected(self, tp: TP) -> int:
        """The offset of the first record that is not applied yet; raises UnloadedPlaceError."""
        place = self.place(tp)
        if place not in self._next:
            raise UnloadedPlaceError(place)
        return self._next[place]

    def advanced(self, tp: TP, after: int) -> None:
        """The database has taken everything before `after`."""
        self._next[self.place(tp)] = after

    async def load(self, tps: Iterable[TP]) -> None:
        """Load the next offsets of the partitions."""
        self._next.update(await self._load([self.place(tp) for tp in tps]))

    async def reload(self, tp: TP) -> None:
        """Load again what is known of a partition, after somebody else has advanced it."""
        self._next.update(await self._reload([self.place(tp)]))


class FencedConsumer(Consumer):
    """A consumer whose positions come from the app's fence; the group's committed offsets only measure lag."""

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Seek every fenced partition to its stored offset, or die: called at assignment, before the first record."""
        offsets: dict[TP, int] = dict(await super().seek_to_committed())
        app: Any = self.app
        fence: Fence = app.fence
        mine = [tp for tp in self.assignment() if fence.is_watched(tp)]
        try:
            async with asyncio.timeout(ASSIGNMENT_LIMIT_S):
                await fence.load(mine)
                for tp in mine:
                    await self._seek(tp, fence.expected(tp))
                    offsets[tp] = fence.expected(tp)
                for callback in app.on_assigned_callbacks:
                    await callback(frozenset(mine))
        except Exception as error:  # noqa: BLE001 - whatever it is, a half-loaded worker must not read a record
            app.kill(f"offsets not loaded at assignment: {type(error).__name__}")
        log.info("partitions.sought", partitions=len(mine))
        return offsets

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:  # noqa: ASYNC109  - Faust's name
        """A poll, with the records of gathered topics in parts."""
        polled: Any = await super()._getmany(active_partitions, timeout)
        fence: Fence = self._fence
        for tp, records in (polled or {}).items():
            max_bytes = fence.gathered_bytes(tp)
            if max_bytes is not None:
                polled[tp] = list(gather(records, max_bytes))
        return polled

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        """A part of a poll as one message."""
        if isinstance(record, Gathered):
            app: Any = self.app
            return GatheredMessage(record, tp, app.consumer_generation_id)
        return super()._to_message(tp, record)

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """Between the last records of two parts is no gap."""
        if self._fence.gathered_bytes(tp) is None:
            await super()._add_gap(tp, offset_from, offset_to)

    def _new_offset(self, tp: TP) -> int | None:
        """After the newest part that was acknowledged: parts of a partition are acknowledged in order."""
        if self._fence.gathered_bytes(tp) is None:
            return super()._new_offset(tp)
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        return newest + 1

    @property
    def _fence(self) -> Fence:
        app: Any = self.app
        fence: Fence = app.fence
        return fence


class FencedTransport(Transport):
    """Faust's Kafka transport with the fenced consumer."""

    Consumer = FencedConsumer
