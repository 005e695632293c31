"""Tells every partition of engagement.recorded.v1 what time it is: nothing -> frames without events.

A partition that nobody hits would keep its watermark, and with it every window, open for ever. A frame without events
stands for its `recorded_at`, which is the database's clock: a scheduler whose own clock is wrong closes nothing early.
"""

import asyncio
import datetime as dt
from collections.abc import Callable

from aiokafka import AIOKafkaProducer

from publishing.runtime.correlation import record_headers
from publishing.runtime.producer import full_name, send_frame
from publishing.runtime.settings import Settings
from publishing.stores.heartbeats import Heartbeats
from schemas.frames import encode_frame, new_events
from topics.catalog import ENGAGEMENT_RECORDED

PERIOD_S = 30.0
CE_SOURCE = "tidewire/scheduler"


class Heartbeat:
    """The beat of the log; its step is a loop's."""

    def __init__(
        self, beats: Heartbeats, producer: AIOKafkaProducer, settings: Settings, *, clock: Callable[[], dt.datetime]
    ) -> None:
        """Claim beats in the database and send them by the producer; the clock is for headers only."""
        self._beats = beats
        self._producer = producer
        self._settings = settings
        self._clock = clock

    async def beat(self) -> bool:
        """Send a frame without events to every partition where a beat is due; one that is lost is not made up."""
        beat_at = await self._beats.claim(ENGAGEMENT_RECORDED, PERIOD_S)
        if beat_at is not None:
            value = encode_frame(CE_SOURCE, int(beat_at.timestamp() * 1000), new_events(0))
            async with asyncio.TaskGroup() as sending:
                for partition in range(self._settings.audience_shards):
                    sending.create_task(self._send(value, partition, f"beat-{beat_at.isoformat()}-{partition}"))
        return False

    async def _send(self, value: bytes, partition: int, number: str) -> None:
        assert ENGAGEMENT_RECORDED.message is not None
        headers = record_headers(ENGAGEMENT_RECORDED.message, ce_id=number, ce_source=CE_SOURCE, now=self._clock())
        name = full_name(self._settings, ENGAGEMENT_RECORDED)
        await send_frame(self._producer, name, value, partition=partition, headers=headers)
