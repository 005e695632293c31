"""Produces the frames of stored plans, each from its row: publishing_plans -> delivery.<kind>.<lane>.v1."""

import asyncio
from collections.abc import Callable, Iterable

from aiokafka import AIOKafkaProducer

from publishing.runtime import metrics
from publishing.runtime.clock import utc_now
from publishing.runtime.correlation import record_headers
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.producer import send_frame
from publishing.stores import plans as store
from publishing.stores.offsets import Pool

CE_SOURCE = "tidewire/audience"
FRAMES_AT_ONCE = 8

log = get_logger(__name__)


class Emission:
    """One task a shard produces what the shard has stored, alerts first, while the agents go on."""

    def __init__(self, pool: Callable[[], Pool], producer: Callable[[], AIOKafkaProducer], prefix: str) -> None:
        self._pool = pool
        self._producer = producer
        self._prefix = prefix
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._again: set[int] = set()

    def wake(self, shard: int) -> None:
        """Produce what is unsent of a shard, soon."""
        if shard in self._tasks:
            self._again.add(shard)
            return
        self._tasks[shard] = asyncio.create_task(self._drain(shard), name=f"emission-{shard}")

    async def look(self, shards: Iterable[int]) -> None:
        """Wake the shards that have unsent frames, whoever stored them."""
        for shard in await store.unsent_shards(self._pool(), sorted(shards)):
            self.wake(shard)

    async def _drain(self, shard: int) -> None:
        try:
            while await self._some(shard) or shard in self._again:
                self._again.discard(shard)
        except Exception as error:  # noqa: BLE001 - the frames are stored: the next look finds them
            metrics.LOOP_FAILURES.labels("audience.emission").inc()
            log.warning("emission.postponed", shard=shard, error=type(error).__name__)
        finally:
            self._tasks.pop(shard, None)
            self._again.discard(shard)

    async def _some(self, shard: int) -> bool:
        frames = await store.unsent(self._pool(), shard, limit=FRAMES_AT_ONCE)
        if frames:
            await asyncio.gather(*(self._send(shard, frame) for frame in frames))
            await store.mark_emitted(self._pool(), shard, frames)
            failpoint("audience.after_emit")
        return len(frames) == FRAMES_AT_ONCE

    async def _send(self, shard: int, frame: store.Unsent) -> None:
        failpoint("audience.between_frames")
        name = f"{frame.run_id}/{shard}/{frame.chunk}"
        await send_frame(
            self._producer(),
            self._prefix + frame.topic,
            frame.frame,
            partition=frame.partition,
            key=name.encode(),
            headers=record_headers("DeliveryRequested", ce_id=name, ce_source=CE_SOURCE, now=utc_now()),
        )
