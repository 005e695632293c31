"""How a Faust app becomes a process: logs, checked topics, opened resources, health, watchdog, signals, exit codes."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import faust
import uvloop

from publishing.runtime import failpoints
from publishing.runtime.clock import monotonic_s
from publishing.runtime.database import InstallationError, check_installation, open_pool
from publishing.runtime.health import HealthPortError, HealthServer
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.metrics import REGISTRY
from publishing.runtime.producer import open_producer
from publishing.runtime.settings import Settings, SettingsError, exit_on_settings_error, load_settings
from streams.application import StreamApp
from streams.stopping import limit_the_stop
from streams.watchdog import LineBudget, Watchdog
from topics.apply import check
from topics.errors import TopicsError

Build = Callable[[Settings], StreamApp]

log = get_logger(__name__)


class RebalancingError(Exception):
    """The worker has no settled assignment yet: wait, or look at its log when this lasts."""


class Worker(faust.Worker):
    """Faust's worker, embedded: signals, logs and the event loop are ours."""

    def install_signal_handlers(self) -> None:
        """Leave them: `serve` has installed its own."""


def run(build: Build, *, name: str, required: Iterable[str] = ()) -> None:
    """Run the app that `build(settings)` makes until it is signalled; the whole of a stream process's main.

    Exits with 2 on a settings error, with 1 when the app crashed or was stopped by the poison limit.
    """
    try:
        settings = load_settings("kafka_bootstrap_servers", "database_url", *required)
    except SettingsError as error:
        exit_on_settings_error(error)
    configure_logs(settings, name)
    logging.getLogger("aiokafka").addFilter(LineBudget(monotonic_s))
    failpoints.arm(settings.failpoints)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        raise SystemExit(runner.run(_main(build, settings)))


async def _main(build: Build, settings: Settings) -> int:
    try:
        return await serve(build(settings), settings)
    except (TopicsError, InstallationError, HealthPortError) as error:
        log.critical("worker.refused", error=type(error).__name__, detail=str(error))
        return 1


async def serve(app: StreamApp, settings: Settings) -> int:
    """Run an app on the running loop until it is stopped; returns the exit code.

    Raises MissingTopicError or PartitionCountError before anything is consumed: as topics are not declared by the app,
    a missing one would show only at the first write, and lose it.
    """
    topics = dict.fromkeys(app.required_topics)
    await check(settings.kafka, prefix=settings.topic_prefix, shards=settings.audience_shards, topics=topics)
    async with _opened(app, settings):
        watchdog = Watchdog(lambda: app.rebalancing, app.kill, monotonic_s)
        watchdog.start()
        try:
            return await _work(Worker(app, loop=asyncio.get_running_loop(), quiet=True, override_logging=False))
        finally:
            watchdog.stop()


async def _work(worker: Worker) -> int:
    """Run until SIGTERM or SIGINT, which is answered within 9 s, or until Faust has crashed."""
    signalled = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled.set)
    ended = [asyncio.create_task(signalled.wait()), asyncio.create_task(worker.start())]
    await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
    failure = ended[1].exception() if ended[1].done() else None
    limit = limit_the_stop()
    log.info("worker.stopping", signalled=signalled.is_set())
    await worker.stop()
    for task in ended:
        task.cancel()
    await asyncio.gather(*ended, return_exceptions=True)
    limit.cancel()
    failure = failure or worker.crash_reason
    if failure is not None:
        log.critical("worker.crashed", error=type(failure).__name__)
        return 1
    log.info("worker.stopped")
    return 0


@asynccontextmanager
async def _opened(app: StreamApp, settings: Settings) -> AsyncIterator[None]:
    async with (
        await open_pool(settings, process=app.consumer_name) as pool,
        open_producer(settings) as producer,
    ):
        await check_installation(pool, settings.audience_shards)
        app.opened_pool, app.opened_producer = pool, producer

        async def database() -> None:
            await pool.fetchval("SELECT 1")

        async def stream() -> None:
            if app.rebalancing or not app.rebalancing_count:
                raise RebalancingError

        health = HealthServer(settings, {"database": database, "stream": stream}, REGISTRY)
        await health.start()
        try:
            yield
        finally:
            await health.stop()
