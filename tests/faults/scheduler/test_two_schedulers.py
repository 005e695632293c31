"""R22: two schedulers, one of them killed: a run is made once, and every row of the outbox reaches Kafka."""

import asyncio
import datetime as dt
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.runtime.correlation import header
from publishing.runtime.settings import Settings
from schemas.codec import decode
from schemas.messages import PublicationDue
from topics.catalog import PUBLICATION_CHANGED, PUBLICATION_DUE, SUBSCRIBER_CHANGED
from topics.model import Topic

pytestmark = [pytest.mark.faults, pytest.mark.timeout(180)]

PUBLICATIONS = 30
CHANGES = 40
Start = Callable[..., Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(environment: dict[str, str]) -> AsyncIterator[Start]:
    """Start a scheduler with a failpoint or none; what still runs at the end is killed."""
    started: list[asyncio.subprocess.Process] = []

    async def begin(failpoints: str = "") -> asyncio.subprocess.Process:
        variables = {**environment, "TIDEWIRE_FAILPOINTS": failpoints}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "streams.scheduler", env=variables, stderr=asyncio.subprocess.PIPE
        )
        started.append(process)
        await _line(process, "scheduler.started")
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.communicate()


async def _line(process: asyncio.subprocess.Process, text: str) -> None:
    """Wait until the process has written a line with the text on standard error."""
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while text not in (line := (await process.stderr.readline()).decode()):
            assert line, f"the scheduler ended without {text}"


async def _stopped(process: asyncio.subprocess.Process) -> None:
    """Wait until the kernel says that the process is stopped (state T)."""
    async with asyncio.timeout(10):
        while (await asyncio.to_thread(_state, process.pid)) != "T":
            continue


def _state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]


async def _fill(pool: asyncpg.Pool, shards: int) -> None:
    await pool.execute(
        "INSERT INTO publishing_publications (name, status, definition, next_due_at, created_by)"
        " SELECT 'p', 'scheduled', $1, now() - interval '1 s' * n, 'tests' FROM generate_series(1, $2::int) n",
        {"trigger": {"kind": "at"}},
        PUBLICATIONS,
    )
    await pool.execute(
        "INSERT INTO publishing_outbox (topic, partition, payload, ce_source)"
        " SELECT $1, s, jsonb_build_object('shard', s, 'changes', jsonb_build_array(jsonb_build_object("
        "'destination', n * $2 + s, 'seq', n, 'version', 1))), 'tests'"
        " FROM generate_series(1, $3::int) n, generate_series(0, $2::int - 1) s ORDER BY n, s",
        SUBSCRIBER_CHANGED.name,
        shards,
        CHANGES,
    )


async def _settle(pool: asyncpg.Pool) -> None:
    async with asyncio.timeout(60):
        while await pool.fetchval(
            "SELECT (SELECT count(*) FROM publishing_outbox WHERE sent_at IS NULL)"
            " + (SELECT count(*) FROM publishing_publications WHERE next_due_at IS NOT NULL), pg_sleep(0.1)"
        ):
            continue


async def _read(settings: Settings, topic: Topic) -> list[tuple[str, bytes]]:
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        shards = range(topic.partition_count(settings.audience_shards))
        places = [TopicPartition(topic.named(settings.topic_prefix), shard) for shard in shards]
        consumer.assign(places)
        waiting = sum((await consumer.end_offsets(places)).values())
        records: list[tuple[str, bytes]] = []
        async with asyncio.timeout(30):
            while len(records) < waiting:
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records += [(header(record.headers, "ce_id") or "", record.value) for record in batch]
        return records
    finally:
        await consumer.stop()


async def _assert_exact(pool: asyncpg.Pool, settings: Settings) -> int:
    """Every run once, every row sent; returns how many records of runs were repeated."""
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs") == PUBLICATIONS
    assert await pool.fetchval("SELECT count(DISTINCT (publication_id, due_at)) FROM publishing_runs") == PUBLICATIONS
    due = await _read(settings, PUBLICATION_DUE)
    places = [(message.run_id, message.shard) for _, value in due for message in [decode(value, PublicationDue)]]
    assert len(set(places)) == PUBLICATIONS * settings.audience_shards
    rows = await pool.fetch("SELECT id FROM publishing_outbox WHERE topic = $1", PUBLICATION_DUE.name)
    assert {ce_id for ce_id, _ in due} == {str(row["id"]) for row in rows}
    return len(places) - len(set(places))


@pytest.mark.parametrize("point", ["scheduler.after_claim_due:1:KILL", "scheduler.after_produce:1:KILL"])
async def test_a_killed_scheduler_loses_and_doubles_nothing(
    pool: asyncpg.Pool, settings: Settings, make_topics: Callable[..., Awaitable[None]], start: Start, point: str
) -> None:
    """Killed after its claim, or between acknowledgement and mark, its work is whole in the other's hands."""
    await make_topics(PUBLICATION_DUE, PUBLICATION_CHANGED, SUBSCRIBER_CHANGED)
    await _fill(pool, settings.audience_shards)
    victim = await start(point)
    async with asyncio.timeout(60):
        _, errors = await victim.communicate()
    assert victim.returncode == -signal.SIGKILL, errors.decode()
    assert f"HIT {point.removesuffix(':1:KILL')}" in errors.decode()
    survivors = [await start(), await start()]
    await _settle(pool)
    repeated = await _assert_exact(pool, settings)
    if point.startswith("scheduler.after_claim_due"):
        assert repeated == 0
    for process in survivors:
        process.terminate()
    async with asyncio.timeout(10):
        for process in survivors:
            await process.communicate()
    assert [process.returncode for process in survivors] == [0, 0]


async def test_a_frozen_scheduler_does_not_hold_the_relay(
    pool: asyncpg.Pool, settings: Settings, make_topics: Callable[..., Awaitable[None]], start: Start
) -> None:
    """Stopped (SIGSTOP) with the turn in its hands, a scheduler loses it within seconds, and what it marks is void."""
    await make_topics(PUBLICATION_DUE, PUBLICATION_CHANGED, SUBSCRIBER_CHANGED)
    await _fill(pool, settings.audience_shards)
    frozen = await start("scheduler.after_produce:1:STOP")
    await _line(frozen, "HIT scheduler.after_produce")
    await _stopped(frozen)
    await start()
    await _settle(pool)
    await _assert_exact(pool, settings)
    frozen.send_signal(signal.SIGCONT)
    await pool.execute(
        "INSERT INTO publishing_publications (name, status, definition, next_due_at, created_by)"
        " VALUES ('late', 'scheduled', $1, $2, 'tests')",
        {"trigger": {"kind": "at"}},
        dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )
    await _settle(pool)
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs") == PUBLICATIONS + 1
    frozen.terminate()
    async with asyncio.timeout(10):
        await frozen.communicate()
    assert frozen.returncode == 0
