"""The engagement worker as a process: it counts, says how it is, refuses to start wrong, and stops in time."""

import asyncio
import json
import signal
from collections.abc import Awaitable, Callable

import aiohttp
import asyncpg
import pytest

from publishing.runtime.clock import monotonic_s, now_ms
from publishing.runtime.producer import full_name, open_producer, send_frame
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import live_channel, open_valkey
from publishing.stores.offsets import Pool
from publishing.stores.suppressions import Suppression
from publishing.stores.suppressions import add as add_suppressions
from schemas.frames import KIND_INDEX, encode_frame, new_events
from schemas.messages import EngagementKind
from tests.fakes.streams_worker import StreamWorker, eventually, stream_worker
from topics.catalog import ENGAGEMENT_RECORDED, SUBSCRIBER_CHANGED

pytestmark = pytest.mark.integration

WORKER = ("-m", "streams.engagement")
MakeTopics = Callable[..., Awaitable[None]]


async def produce(settings: Settings, frames: int) -> None:
    """Append frames of two opens each, over all partitions."""
    async with open_producer(settings) as producer:
        for number in range(frames):
            events = new_events(2)
            events["kind"], events["occurred_at"], events["destination"] = 1, now_ms(), number + 1
            value = encode_frame("tests", now_ms(), events)
            await send_frame(producer, full_name(settings, ENGAGEMENT_RECORDED), value, partition=number % 4)


async def counted(pool: Pool) -> int:
    """All events in the day's windows."""
    sql = "SELECT coalesce(sum(total), 0) FROM publishing_analytics WHERE grain = 'day'"
    return int(await pool.fetchval(sql))


async def readiness(worker: StreamWorker) -> tuple[int, dict[str, str]]:
    """The answer of /readyz."""
    port = json.loads(await worker.wrote("health.listening"))["port"]
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/readyz") as answer:
        return answer.status, (await answer.json())["services"]


async def test_a_worker_counts_is_ready_and_stops_cleanly(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: MakeTopics
) -> None:
    """Frames become windows; readiness names its checks; SIGTERM is answered with exit code 0."""
    await make_topics(ENGAGEMENT_RECORDED)
    async with stream_worker(WORKER, environment) as worker:
        await produce(settings, 12)

        async def is_counted() -> bool:
            return await counted(pool) == 24

        await eventually(is_counted, what="24 events are counted")
        assert await readiness(worker) == (200, {"database": "ok", "stream": "ok"})
        worker.send(signal.SIGTERM)
        assert await worker.exited() == 0
    assert await pool.fetchval("SELECT sum(uniques) FROM publishing_analytics WHERE grain = 'minute'") == 12


async def test_endings_reach_the_audience_though_the_app_was_away(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: MakeTopics
) -> None:
    """What came while the app was stopped ends sending once it is back, also where a row was written at once."""
    await make_topics(ENGAGEMENT_RECORDED)
    sql = "INSERT INTO publishing_channels (kind, name, config_sealed) VALUES ('email', 'news', '') RETURNING id"
    channel = await pool.fetchval(sql)
    endings = {5: "unsubscribed", 9: "complained", 13: "bounced"}
    for number in endings:
        add = """INSERT INTO publishing_subscribers (id, shard, channels) VALUES ($1, 1, '{"email": true}')"""
        await pool.execute(add, number)
    at_once = Suppression(destination=5, scope=f"channel:{channel}", reason="unsubscribed", source="collector")
    await add_suppressions(pool, [at_once])
    events = new_events(len(endings))
    events["occurred_at"], events["channel_id"], events["destination"] = now_ms(), channel, list(endings)
    events["kind"] = [KIND_INDEX[EngagementKind(kind)] for kind in endings.values()]
    async with open_producer(settings) as producer:
        for _ in range(2):
            value = encode_frame("tests", now_ms(), events)
            await send_frame(producer, full_name(settings, ENGAGEMENT_RECORDED), value, partition=1)
    async with stream_worker(WORKER, environment):

        async def is_counted() -> bool:
            return await counted(pool) == 6

        await eventually(is_counted, what="6 events are counted")
    rows = await pool.fetch("SELECT destination, scope, reason FROM publishing_suppressions ORDER BY 1, 2")
    assert [tuple(row) for row in rows] == [
        (5, f"channel:{channel}", "unsubscribed"),
        (5, "email", "unsubscribed"),
        (9, "email", "complained"),
        (13, "email", "bounced"),
    ]
    statuses = await pool.fetch("SELECT id, status, channels FROM publishing_subscribers ORDER BY id")
    off = {"email": False}
    assert [tuple(row) for row in statuses] == [(5, "unsubscribed", off), (9, "unsubscribed", off), (13, "active", off)]
    told = await pool.fetch("SELECT payload FROM publishing_outbox WHERE topic = $1", SUBSCRIBER_CHANGED.name)
    assert sorted(change["destination"] for row in told for change in row["payload"]["changes"]) == [5, 9, 13]


async def test_commits_are_announced_on_the_live_channel(
    settings: Settings, environment: dict[str, str], make_topics: MakeTopics
) -> None:
    """Whoever listens hears of the publications that changed and of all events, after they are in the tables."""
    await make_topics(ENGAGEMENT_RECORDED)
    client = open_valkey(settings)
    heard = 0
    async with client.pubsub() as listening, stream_worker(WORKER, environment):
        await listening.subscribe(live_channel(settings))
        await produce(settings, 12)
        async with asyncio.timeout(30):
            while heard < 24:
                message = await listening.get_message(ignore_subscribe_messages=True, timeout=0.5)
                if message is not None:
                    told = json.loads(message["data"])
                    assert (told["publications"], told["lag"]) == ([0], None)
                    heard += told["events"]
    await client.aclose()
    assert heard == 24


async def test_an_app_without_a_cache_counts(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: MakeTopics
) -> None:
    """TIDEWIRE_REDIS_URL is optional, and a cache that does not answer holds nothing up."""
    await make_topics(ENGAGEMENT_RECORDED)
    for number, address in enumerate((None, "redis://127.0.0.1:9/0"), start=1):
        variables = {k: v for k, v in environment.items() if k != "TIDEWIRE_REDIS_URL"}
        if address:
            variables["TIDEWIRE_REDIS_URL"] = address
        await produce(settings, 4)
        async with stream_worker(WORKER, variables):

            async def is_counted(events: int = 8 * number) -> bool:
                return await counted(pool) == events

            await eventually(is_counted, what="all events are counted")


async def test_missing_topics_refuse_the_start(environment: dict[str, str], database_url: str) -> None:
    """A topic that is not there would lose its first event: the worker names it and exits with 1."""
    async with stream_worker(WORKER, environment) as worker:
        assert await worker.exited() == 1
    assert any("worker.refused" in line and ENGAGEMENT_RECORDED.dlq.name in line for line in worker.lines)


async def test_a_missing_setting_is_named(environment: dict[str, str]) -> None:
    """Exit code 2, and the name of the variable."""
    environment.pop("TIDEWIRE_DATABASE_URL")
    async with stream_worker(WORKER, environment) as worker:
        assert await worker.exited() == 2
    assert worker.lines == ["tidewire: TIDEWIRE_DATABASE_URL is not set"]


async def test_a_stop_does_not_wait_for_a_stuck_database(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: MakeTopics
) -> None:
    """A batch that cannot be written holds SIGTERM up for 9 s at most; nothing of it is lost or counted twice."""
    await make_topics(ENGAGEMENT_RECORDED)
    await produce(settings, 4)
    blocker = await asyncpg.connect(settings.database)
    async with blocker.transaction():
        await blocker.execute("LOCK TABLE stream_offsets IN EXCLUSIVE MODE")
        async with stream_worker(WORKER, environment) as worker:
            await worker.wrote("Worker ready")

            async def is_waiting() -> bool:
                sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'stream_offsets'::regclass"
                return bool(await pool.fetchval(sql))

            await eventually(is_waiting, what="the worker waits for the lock")
            asked_s = monotonic_s()
            worker.send(signal.SIGTERM)
            assert await worker.exited() in (0, -signal.SIGKILL)
            assert monotonic_s() - asked_s < 12
    await blocker.close()
    async with stream_worker(WORKER, environment):

        async def is_counted() -> bool:
            return await counted(pool) == 8

        await eventually(is_counted, what="8 events are counted")
