"""The scheduler as a process: it starts without its servers' help, says how it is, and leaves on SIGTERM."""

import asyncio
import dataclasses
import datetime as dt
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable

import aiohttp
import asyncpg
import pytest

from publishing.runtime.clock import utc_now
from publishing.runtime.database import InstallationError
from publishing.runtime.settings import Settings
from streams import scheduler
from streams.scheduler import serve
from topics.catalog import PUBLICATION_CHANGED, PUBLICATION_DUE

pytestmark = pytest.mark.integration

Add = Callable[..., Awaitable[int]]


@dataclasses.dataclass
class Served:
    """A scheduler that runs within the test, and the port of its health server."""

    task: asyncio.Task[None]
    stopping: asyncio.Event
    port: int


@pytest.fixture
async def served(
    settings: Settings, make_topics: Callable[..., Awaitable[None]], unused_tcp_port: int
) -> AsyncIterator[Served]:
    """A running scheduler whose topics exist."""
    await make_topics(PUBLICATION_DUE, PUBLICATION_CHANGED)
    stopping = asyncio.Event()
    task = asyncio.create_task(serve(settings.model_copy(update={"health_port": unused_tcp_port}), stopping))
    yield Served(task, stopping, unused_tcp_port)
    stopping.set()
    async with asyncio.timeout(15):
        await task


async def _answer(port: int, path: str) -> tuple[int, str]:
    async with asyncio.timeout(20), aiohttp.ClientSession() as session:
        while True:
            try:
                async with session.get(f"http://127.0.0.1:{port}{path}") as answer:
                    return answer.status, await answer.text()
            except aiohttp.ClientConnectorError:
                await asyncio.sleep(0.05)


async def _until(pool: asyncpg.Pool, question: str) -> None:
    async with asyncio.timeout(30):
        while not await pool.fetchval(f"SELECT ({question}), pg_sleep(0.05)"):
            continue


async def test_a_due_publication_is_run_sent_and_done(served: Served, pool: asyncpg.Pool, add_publication: Add) -> None:
    """From the due time to Kafka and, once the shards have planned, to its end, by the loops alone."""
    await add_publication()
    await _until(pool, "SELECT count(*) = 8 FROM publishing_outbox WHERE sent_at IS NOT NULL")
    await pool.execute(
        "INSERT INTO publishing_run_shards (run_id, shard, candidates, planned)"
        " SELECT id, s, 0, 0 FROM publishing_runs, generate_series(0, 3) s"
    )
    await _until(pool, "SELECT status = 'done' FROM publishing_publications")
    assert not served.task.done()


async def test_it_says_how_it_is(served: Served) -> None:
    """Health names both servers, and the metrics count the loops' failures."""
    status, text = await _answer(served.port, "/readyz")
    assert (status, '"database": "ok"' in text, '"broker": "ok"' in text) == (200, True, True)
    status, text = await _answer(served.port, "/metrics")
    assert "tidewire_outbox_unsent_rows" in text


async def test_it_outlives_its_connections(served: Served, pool: asyncpg.Pool, add_publication: Add) -> None:
    """With every connection cut by the database the loops go on, and what is due then is run."""
    await _answer(served.port, "/livez")
    cut = await pool.fetchval(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity"
        " WHERE application_name = 'tidewire-scheduler' AND datname = current_database()"
    )
    assert cut >= 1
    await add_publication()
    await _until(pool, "SELECT count(*) = 1 FROM publishing_runs")
    assert not served.task.done()


async def test_days_are_kept_from_the_start(served: Served, pool: asyncpg.Pool) -> None:
    """A week of partitions exists soon after the start."""
    name = f"publishing_deliveries_{utc_now().date() + dt.timedelta(days=7):%Y%m%d}"
    await _until(pool, f"SELECT to_regclass('{name}') IS NOT NULL")
    assert not served.task.done()


async def test_another_number_of_shards_is_refused(settings: Settings) -> None:
    """A scheduler that was told another number of shards than the installation has does not start."""
    stopping = asyncio.Event()
    pool = await scheduler._checked_pool(settings)
    await pool.close()
    with pytest.raises(InstallationError):
        await serve(settings.model_copy(update={"audience_shards": 5}), stopping)


async def test_it_waits_for_servers_that_are_away(settings: Settings, unused_tcp_port: int) -> None:
    """A database and a broker that do not answer yet are waited for, and stopping ends the wait."""
    away = settings.model_copy(update={"database_url": f"postgresql://tidewire@127.0.0.1:{unused_tcp_port}/none"})
    offline = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{unused_tcp_port}"})
    stopping = asyncio.Event()
    waiting = [asyncio.create_task(serve(each, stopping)) for each in (away, offline)]
    _, unfinished = await asyncio.wait(waiting, timeout=1.5)
    assert len(unfinished) == 2
    stopping.set()
    async with asyncio.timeout(10):
        await asyncio.gather(*waiting)


async def test_main_leaves_on_sigterm(
    settings: Settings, environment: dict[str, str], make_topics: Callable[..., Awaitable[None]]
) -> None:
    """SIGTERM ends the process with 0 within 10 s."""
    await make_topics(PUBLICATION_DUE, PUBLICATION_CHANGED)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.scheduler", env=environment, stderr=asyncio.subprocess.PIPE
    )
    assert process.stderr is not None
    async with asyncio.timeout(60):
        while b"scheduler.started" not in (line := await process.stderr.readline()):
            assert line, "the scheduler ended before it started"
    os.kill(process.pid, signal.SIGTERM)
    async with asyncio.timeout(10):
        _, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    assert b"scheduler.stopped" in errors


async def test_main_names_what_is_not_set(environment: dict[str, str]) -> None:
    """Without a database the process exits with 2 and names the variable."""
    environment.pop("TIDEWIRE_DATABASE_URL")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "streams.scheduler", env=environment, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert b"TIDEWIRE_DATABASE_URL" in errors
