"""Owns readers' hits from their arrival until they are durable: gathered by shard, one frame a linger."""

import asyncio
import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from publishing.domain.shards import shard_of
from publishing.domain.verdicts import Judgement
from publishing.domain.windows import OUTSIDE_ID
from publishing.runtime.logs import get_logger
from schemas.frames import AGENT_INDEX, KIND_INDEX, NETWORK_INDEX, VERDICT_INDEX, encode_frame, new_events
from schemas.messages import EngagementKind

# Frames per second are bounded by shards / linger: 16 shards at 10 ms are 1,600.
LINGER_S = 0.01
MAX_EVENTS = 200
# Some 5 s of 5,000 hits a second: beyond it a hit is dropped at once instead of waiting.
MAX_WAITING = 25_000
EVENT_ID_BYTES = 16

log = get_logger(__name__)


class NotDurableError(Exception):
    """The frame is not known to be kept; count its hits as dropped, or tell the client to come again."""


class Durable(Protocol):
    """What keeps a frame for good before it returns."""

    async def keep(self, shard: int, frame: bytes) -> None:
        """Return once the frame is safe; raises NotDurableError within a bounded time."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """What a reader, or a machine, did to one link; numbers only."""

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


@dataclasses.dataclass(slots=True)
class _Batch:
    """The hits of one shard that will share a frame, and the answer that all of them wait for."""

    kept: asyncio.Future[bool]
    timer: asyncio.TimerHandle
    hits: list[Hit] = dataclasses.field(default_factory=list)


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
        """Start with nothing gathered."""
        self._durable = durable
        self._shards = shards
        self._recorded_by = recorded_by
        self._clock_ms = clock_ms
        self._linger_s = linger_s
        self._open: dict[int, _Batch] = {}
        self._sending: set[asyncio.Task[None]] = set()
        self._waiting = 0

    async def record(self, hit: Hit) -> bool:
        """Return True once the hit is durable, False when it is not known to be; a cancelled caller loses nothing."""
        if self._waiting >= MAX_WAITING:
            return False
        shard = shard_of(hit.destination, self._shards)
        batch = self._open.get(shard)
        if batch is None:
            loop = asyncio.get_running_loop()
            batch = _Batch(loop.create_future(), loop.call_later(self._linger_s, self._close, shard))
            self._open[shard] = batch
        batch.hits.append(hit)
        self._waiting += 1
        if len(batch.hits) >= MAX_EVENTS:
            self._close(shard)
        return await asyncio.shield(batch.kept)

    async def record_many(self, hits: Sequence[Hit]) -> bool:
        """Return True once all the hits are durable, False when any of them is not known to be."""
        return all(await asyncio.gather(*(self.record(hit) for hit in hits)))

    async def drain(self) -> None:
        """Send what is gathered and wait until each frame is kept or given up."""
        for shard in list(self._open):
            self._close(shard)
        while self._sending:
            await asyncio.wait(self._sending)

    def _close(self, shard: int) -> None:
        batch = self._open.pop(shard)
        batch.timer.cancel()
        task = asyncio.create_task(self._keep(shard, batch))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def _keep(self, shard: int, batch: _Batch) -> None:
        is_kept = False
        try:
            await self._durable.keep(shard, self._frame(batch.hits))
            is_kept = True
        except NotDurableError:
            log.warning("collector.not_durable", shard=shard, hits=len(batch.hits))
        except Exception:
            log.exception("collector.failed", shard=shard, hits=len(batch.hits))
        finally:
            self._waiting -= len(batch.hits)
            batch.kept.set_result(is_kept)

    def _frame(self, hits: list[Hit]) -> bytes:
        events = new_events(len(hits))
        ids = np.frombuffer(secrets.token_bytes(EVENT_ID_BYTES * len(hits)), dtype=np.uint8)
        events["event_id"] = ids.reshape(len(hits), EVENT_ID_BYTES)
        for place, hit in enumerate(hits):
            if hit.event_id is not None:
                events["event_id"][place] = np.frombuffer(hit.event_id, dtype=np.uint8)
        events["occurred_at"] = [hit.occurred_at_ms for hit in hits]
        events["kind"] = [KIND_INDEX[hit.kind] for hit in hits]
        events["verdict"] = [VERDICT_INDEX[hit.judgement.verdict] for hit in hits]
        events["agent"] = [AGENT_INDEX[hit.judgement.agent] for hit in hits]
        events["network"] = [NETWORK_INDEX[hit.judgement.network] for hit in hits]
        events["rule"] = [hit.judgement.rule for hit in hits]
        events["flags"] = [hit.judgement.flags | (OUTSIDE_ID if hit.event_id is not None else 0) for hit in hits]
        for name in ("arm", "run_id", "publication_id", "channel_id", "destination", "content_id", "link"):
            events[name] = [getattr(hit, name) for hit in hits]
        return encode_frame(self._recorded_by, self._clock_ms(), events)
