"""The log's heartbeat: one beat a period however many schedulers there are, and idle partitions go on."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from publishing.domain.windows import LATENESS_MS, NO_WATERMARK, Frame, fold
from publishing.runtime.settings import Settings
from publishing.stores.heartbeats import Heartbeats
from schemas.frames import decode_frame
from streams.heartbeat import PERIOD_S, Heartbeat
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.mark.parametrize(("age_s", "is_due"), [(0, False), (PERIOD_S - 5, False), (PERIOD_S + 1, True), (-3600, True)])
async def test_a_beat_is_due_once_a_period(pool: asyncpg.Pool, age_s: float, *, is_due: bool) -> None:
    """One of many that ask at once gets it; a database's clock that stepped back does not stop the beats."""
    beats = Heartbeats(pool)
    assert await beats.claim(ENGAGEMENT_RECORDED, PERIOD_S) is not None
    await pool.execute("UPDATE publishing_heartbeats SET beat_at = now() - $1::float8 * interval '1 second'", age_s)
    claims = await asyncio.gather(*(beats.claim(ENGAGEMENT_RECORDED, PERIOD_S) for _ in range(8)))
    assert sum(claim is not None for claim in claims) == is_due


async def test_every_partition_hears_the_databases_time(
    pool: asyncpg.Pool,
    producer: AIOKafkaProducer,
    settings: Settings,
    make_topics: Callable[..., Awaitable[None]],
    read_records: Callable[..., Awaitable[list[ConsumerRecord]]],
) -> None:
    """Two schedulers with wrong clocks send one frame a partition, which moves its watermark and counts nothing."""
    await make_topics(ENGAGEMENT_RECORDED)
    for clock in (NOW, NOW - 60 * MINUTE):
        await Heartbeat(Heartbeats(pool), producer, settings, clock=lambda now=clock: now).beat()  # type: ignore[misc]
    records = await read_records(ENGAGEMENT_RECORDED)
    assert [record.partition for record in records] == list(range(settings.audience_shards))
    beat_at = await pool.fetchval("SELECT beat_at FROM publishing_heartbeats")
    for record in records:
        frame = decode_frame(record.value)
        assert frame.recorded_at_ms == int(beat_at.timestamp() * 1000)
        folded = fold([Frame(frame.events, frame.recorded_at_ms, record.timestamp)], NO_WATERMARK)
        assert folded.watermark_ms == min(frame.recorded_at_ms, record.timestamp) - LATENESS_MS
        assert folded.events == 0
