"""Owns the scheduler's process: due runs, the outbox's relay, retries, run ends and retention; any number may run."""

import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError

from publishing.runtime.clock import utc_now
from publishing.runtime.database import InstallationError, check_installation, open_pool
from publishing.runtime.failpoints import arm
from publishing.runtime.health import HealthPortError, HealthServer
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.metrics import REGISTRY
from publishing.runtime.producer import open_producer
from publishing.runtime.settings import Settings, SettingsError, exit_on_settings_error, load_settings
from publishing.stores.availability import Pool, is_unavailable
from publishing.stores.heartbeats import Heartbeats
from publishing.stores.leases import Leases
from publishing.stores.outbox import Outbox
from publishing.stores.retention import Retention
from publishing.stores.scheduling import Scheduling
from streams.heartbeat import Heartbeat
from streams.loops import Loop, opened, repeat
from streams.reemission import Reemission
from streams.relay import Relay
from streams.runs import Runs
from streams.upkeep import Upkeep

# A step in progress may end by itself; together with closing, the process leaves within 10 s of SIGTERM.
FINISH_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 3.0
HOUR_S = 3600.0

log = get_logger(__name__)


def loops(pool: Pool, producer: AIOKafkaProducer, settings: Settings) -> Sequence[Loop]:
    """Return what the process repeats; nothing in it asks which scheduler it is: claims are made in PostgreSQL."""
    outbox = Outbox(pool)
    relay = Relay(outbox, producer, settings, clock=utc_now)
    runs = Runs(Scheduling(pool, audience_shards=settings.audience_shards), clock=utc_now)
    reemission = Reemission(Leases(pool), producer, settings, clock=utc_now)
    heartbeat = Heartbeat(Heartbeats(pool), producer, settings, clock=utc_now)
    upkeep = Upkeep(Retention(pool), outbox, clock=utc_now)
    return (
        Loop("keep_days", upkeep.keep_days, HOUR_S),
        Loop("drop_windows", upkeep.drop_windows, HOUR_S),
        Loop("relay", relay.step, 0.05),
        Loop("begin_runs", runs.begin, 0.25),
        Loop("end_leases", reemission.end_leases, 1.0),
        Loop("emit_retries", reemission.emit_due, 0.5),
        Loop("finish_runs", runs.finish, 1.0),
        Loop("delete_sent", upkeep.delete_sent, 60.0),
        Loop("beat", heartbeat.beat, 5.0),
        Loop("measure_outbox", relay.measure, 5.0),
    )


async def serve(settings: Settings, stopping: asyncio.Event) -> None:
    """Run the scheduler until stopping is set, then let steps in progress end for at most 5 s.

    Raises InstallationError and HealthPortError, which an operator must resolve.
    """
    async with AsyncExitStack() as resources:
        pool = await opened("open_database", lambda: _checked_pool(settings), stopping)
        if pool is None:
            return
        resources.push_async_callback(_close, pool)
        producer = await opened("open_broker", lambda: _started(resources, settings), stopping)
        if producer is None:
            return
        checks = {"database": lambda: pool.fetchval("SELECT 1"), "broker": lambda: _broker_answers(producer)}
        health = HealthServer(settings, checks, REGISTRY)
        await health.start()
        resources.push_async_callback(health.stop)
        log.info("scheduler.started")
        await _repeat_all(loops(pool, producer, settings), stopping)
    log.info("scheduler.stopped")


async def _repeat_all(repeated: Sequence[Loop], stopping: asyncio.Event) -> None:
    turns = asyncio.Lock()
    tasks = [asyncio.create_task(repeat(loop, stopping, turns), name=loop.name) for loop in repeated]
    await stopping.wait()
    _, unfinished = await asyncio.wait(tasks, timeout=FINISH_TIMEOUT_S)
    for task in unfinished:
        log.warning("loop.cut_off", loop=task.get_name())
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _checked_pool(settings: Settings) -> Pool:
    try:
        pool = await open_pool(settings, process="scheduler")
        try:
            await check_installation(pool, settings.audience_shards)
        except BaseException:
            pool.terminate()
            raise
    except Exception as error:
        if is_unavailable(error):
            raise ConnectionError(str(error)) from error
        raise
    return pool


async def _started(resources: AsyncExitStack, settings: Settings) -> AIOKafkaProducer:
    try:
        return await resources.enter_async_context(open_producer(settings))
    except KafkaConnectionError as error:
        raise ConnectionError(str(error)) from error


async def _broker_answers(producer: AIOKafkaProducer) -> None:
    await producer.client.fetch_all_metadata()


async def _close(pool: Pool) -> None:
    try:
        async with asyncio.timeout(CLOSE_TIMEOUT_S):
            await pool.close()
    except TimeoutError:
        pool.terminate()


async def _run(settings: Settings) -> None:
    stopping = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        running.add_signal_handler(number, stopping.set)
    serving = asyncio.create_task(serve(settings, stopping))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    async with asyncio.timeout(FINISH_TIMEOUT_S + CLOSE_TIMEOUT_S if stopping.is_set() else None):
        await serving


def main() -> None:
    """Run the scheduler until SIGTERM; exits with 2 on wrong settings, with 1 where it could not end in time."""
    try:
        settings = load_settings("kafka_bootstrap_servers", "database_url")
    except SettingsError as error:
        exit_on_settings_error(error)
    configure_logs(settings, "scheduler")
    arm(settings.failpoints)
    try:
        asyncio.run(_run(settings))
    except (InstallationError, HealthPortError) as error:
        sys.stderr.write(f"tidewire: {error or error.__doc__}\n")
        raise SystemExit(2) from error
    except TimeoutError:
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
