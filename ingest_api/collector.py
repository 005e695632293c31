"""Owns readers' hits from their arrival until they are durable: gathered by shard, one frame a linger."""

import asyncio
import dataclasses
import functools
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias

from publishing.domain.shards import shard_of
from publishing.domain.verdicts import Judgement
from publishing.domain.windows import OUTSIDE_ID
from publishing.runtime.logs import get_logger
from schemas.errors import SchemaError
from schemas.messages import EngagementKind
from schemas.packing import (
    EVENT_ID_BYTES,
    Mark,
    Numbers,
    event_codes,
    frame_head,
    pack_alike,
    pack_event,
    pack_frame,
)

# All shards are flushed together, and a frame costs its consumer as much as a hundred events: the linger grows with
# the frames of a flush, so that they stay at 1,600 a second. 16 shards: 10 ms; 64 shards: 40 ms.
LINGER_S = 0.01
LONGEST_LINGER_S = 0.05
FRAMES_PER_S = 1_600
MAX_EVENTS = 200
# Some 5 s of 5,000 hits a second: beyond it a hit is dropped at once instead of waiting.
MAX_WAITING = 25_000
IDS_AT_ONCE = 256
# An event begins with its id: that of a hit without a reader chooses its shard.
_SPREAD_BYTES = 4

Kept: TypeAlias = Callable[[bool], None]
"""Is told once whether hits are durable; it must not raise."""

_Batch: TypeAlias = tuple[list[bytes], list[Kept]]
"""The packed hits of one shard that will share a frame, and those who wait for it."""

log = get_logger(__name__)


class NotDurableError(Exception):
    """The frame is not known to be kept; count its hits as dropped, or tell the client to come again."""


class Durable(Protocol):
    """What keeps a frame for good before it returns."""

    async def keep(self, shard: int, frame: bytes) -> None:
        """Return once the frame is safe; raises NotDurableError within a bounded time."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Hit:
    """What a reader, or a machine, did to one link; numbers only. Nobody changes it; frozen, it costs thrice."""

    occurred_at_ms: int
    kind: EngagementKind
    judgement: Judgement
    run_id: int
    publication_id: int
    channel_id: int
    destination: int
    arm: int = 0
    content_id: int = 0
    link: int = 0
    event_id: bytes | None = None
    """16 bytes of an id that came from outside, by which the hit is counted once; None lets the collector choose."""


class Collector:
    """Gathers hits into frames; clock_ms gives the time that a frame is made at."""

    def __init__(
        self,
        durable: Durable,
        *,
        shards: int,
        recorded_by: str,
        clock_ms: Callable[[], int],
        linger_s: float = LINGER_S,
    ) -> None:
        """Start with nothing gathered; a linger is never shorter than `linger_s`, nor so short that frames abound."""
        self._durable = durable
        self._shards = shards
        self._head = frame_head(recorded_by)
        self._clock_ms = clock_ms
        self._least_linger_s = self.linger_s = linger_s
        self._open: dict[int, _Batch] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._waiting = 0
        self._ids = b""
        self._ids_used = 0

    async def record(self, hit: Hit) -> bool:
        """Return True once the hit is durable, False when it is not known to be; a cancelled caller loses nothing."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        return self.take(hit, functools.partial(_settle, kept)) and await kept

    def take(self, hit: Hit, kept: Kept) -> bool:
        """Gather a hit and tell `kept` later, from the event loop; or return False and never call it: it is dropped."""
        if self._waiting >= MAX_WAITING:
            return False
        try:
            packed = self._packed(hit)
        except SchemaError as error:
            log.warning("collector.unencodable", error=str(error))
            return False
        shard = self._shard(hit, packed)
        events, waiters = self._batch(shard)
        waiters.append(kept)
        self._add(shard, events, packed)
        return True

    async def record_many(self, hits: Sequence[Hit]) -> bool:
        """Return True once all the hits are durable, False when any of them is not known to be."""
        if self._waiting + len(hits) > MAX_WAITING:
            return False
        packed: dict[int, list[bytes]] = {}
        try:
            for hit in hits:
                event = self._packed(hit)
                packed.setdefault(self._shard(hit, event), []).append(event)
        except SchemaError as error:
            log.warning("collector.unencodable", error=str(error))
            return False
        return await self._kept(packed)

    async def record_alike(self, groups: Iterable[tuple[Hit, Sequence[Mark]]]) -> bool:
        """Record events with ids from outside, as record_many does; those of a group differ by id and time alone."""
        packed: dict[int, list[bytes]] = {}
        try:
            for hit, marks in groups:
                codes = _codes_of(hit.kind, hit.judgement)
                events = pack_alike(marks, codes, _numbers_of(hit, hit.judgement.flags | OUTSIDE_ID))
                if hit.destination:
                    packed.setdefault(self._shard(hit, b""), []).extend(events)
                else:
                    for event in events:
                        packed.setdefault(self._shard(hit, event), []).append(event)
        except SchemaError as error:
            log.warning("collector.unencodable", error=str(error))
            return False
        if self._waiting + sum(map(len, packed.values())) > MAX_WAITING:
            return False
        return await self._kept(packed)

    async def _kept(self, packed: Mapping[int, Sequence[bytes]]) -> bool:
        """Put packed events into the frames of their shards; one answer a frame is waited for."""
        loop = asyncio.get_running_loop()
        kept: list[asyncio.Future[bool]] = []
        for shard, events in packed.items():
            taken = 0
            while taken < len(events):
                gathered, waiters = self._batch(shard)
                part = events[taken : taken + MAX_EVENTS - len(gathered)]
                gathered += part
                taken += len(part)
                self._waiting += len(part)
                kept.append(loop.create_future())
                waiters.append(functools.partial(_settle, kept[-1]))
                if len(gathered) >= MAX_EVENTS:
                    self._close(shard)
        return all([await one for one in kept])

    async def drain(self) -> None:
        """Send what is gathered and wait until each frame is kept or given up."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        while self._sending:
            await asyncio.wait(self._sending)

    def _shard(self, hit: Hit, packed: bytes) -> int:
        """Return the shard of a hit; those of nobody are spread by their ids, and the same id goes to the same."""
        return shard_of(hit.destination or int.from_bytes(packed[:_SPREAD_BYTES]), self._shards)

    def _batch(self, shard: int) -> _Batch:
        """Return the frame that is being gathered for a shard."""
        batch = self._open.get(shard)
        if batch is None:
            batch = self._open[shard] = ([], [])
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(self.linger_s, self._flush)
        return batch

    def _add(self, shard: int, events: list[bytes], packed: bytes) -> None:
        events.append(packed)
        self._waiting += 1
        if len(events) >= MAX_EVENTS:
            self._close(shard)

    def _flush(self) -> None:
        """Close the frames of all shards at once: they share one request to the broker."""
        self._timer = None
        frames = len(self._open)
        for shard in list(self._open):
            self._close(shard)
        self.linger_s = max(self._least_linger_s, min(frames / FRAMES_PER_S, LONGEST_LINGER_S))

    def _close(self, shard: int) -> None:
        events, waiters = self._open.pop(shard)
        task = asyncio.create_task(self._keep(shard, events, waiters))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _keep(self, shard: int, events: list[bytes], waiters: list[Kept]) -> None:
        is_kept = False
        try:
            await self._durable.keep(shard, pack_frame(self._head, self._clock_ms(), events))
            is_kept = True
        except NotDurableError:
            log.warning("collector.not_durable", shard=shard, hits=len(events))
        except Exception:
            log.exception("collector.failed", shard=shard, hits=len(events))
        finally:
            self._waiting -= len(events)
            for kept in waiters:
                kept(is_kept)

    def _packed(self, hit: Hit) -> bytes:
        judgement, event_id, flags = hit.judgement, hit.event_id, hit.judgement.flags
        if event_id is None:
            event_id = self._new_id()
        else:
            flags |= OUTSIDE_ID
        return pack_event(event_id, hit.occurred_at_ms, _codes_of(hit.kind, judgement), _numbers_of(hit, flags))

    def _new_id(self) -> bytes:
        """A random id; the system is asked for many at once."""
        start = self._ids_used
        if start >= len(self._ids):
            self._ids, start = secrets.token_bytes(EVENT_ID_BYTES * IDS_AT_ONCE), 0
        self._ids_used = end = start + EVENT_ID_BYTES
        return self._ids[start:end]


def _settle(kept: asyncio.Future[bool], is_kept: bool) -> None:  # noqa: FBT001  - it is a Kept
    if not kept.done():
        kept.set_result(is_kept)


def _codes_of(kind: EngagementKind, judgement: Judgement) -> bytes:
    return event_codes(kind, judgement.verdict, judgement.agent, judgement.network)


def _numbers_of(hit: Hit, flags: int) -> Numbers:
    return (
        hit.judgement.rule,
        hit.arm,
        flags,
        hit.run_id,
        hit.publication_id,
        hit.channel_id,
        hit.destination,
        hit.content_id,
        hit.link,
    )
