"""Owns the connections of the API: opened in the background, so that links work while the services are away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer

from ingest_api.broker import FrameTopic
from ingest_api.collector import Collector
from ingest_api.dashboard.lag import Log
from ingest_api.durable import BrokerFirst
from ingest_api.live import Hints
from ingest_api.problems import unavailable
from ingest_api.spool import Spool
from publishing.domain.keys import KeyRing
from publishing.runtime.clock import now_ms
from publishing.runtime.database import check_installation, open_pool
from publishing.runtime.logs import get_logger
from publishing.runtime.producer import open_producer
from publishing.runtime.sealing import Sealer
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import open_valkey
from publishing.stores.availability import Pool

# How long a start waits for the services before it answers without them.
START_WAIT_S = 5.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
# A producer without its broker never ends its flush; a supervisor kills after 10 s.
CLOSE_WAIT_S = 1.0
POOL_SIZE = 12

Resource = TypeVar("Resource")
Opening = Callable[[], contextlib.AbstractAsyncContextManager[Resource]]

log = get_logger(__name__)


class Connection(Generic[Resource]):
    """One service's connection, tried again until it opens."""

    def __init__(self, service: str, opening: Opening[Resource]) -> None:
        """Keep how to open it; nothing is opened yet."""
        self.service = service
        self._opening = opening
        self._opened: Resource | None = None
        self._stack = contextlib.AsyncExitStack()

    @property
    def opened(self) -> Resource | None:
        """The connection, or None while the service is away."""
        return self._opened

    def require(self) -> Resource:
        """Return the connection; raises a 503 problem while the service is away."""
        if self._opened is None:
            raise unavailable(self.service)
        return self._opened

    async def open(self) -> None:
        """Open it, with growing pauses between the attempts."""
        pause_s = FIRST_PAUSE_S
        while self._opened is None:
            try:
                self._opened = await self._stack.enter_async_context(self._opening())
            except Exception as error:  # noqa: BLE001  - whatever it is, the service is not there yet
                log.warning("connection.failed", service=self.service, error=type(error).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    async def close(self) -> None:
        """Close what was opened."""
        self._opened = None
        await self._stack.aclose()


class SpoolRefusesError(Exception):
    """The spool takes no frames: it is full, or its disk is; make room, or bring the broker back."""


class Resources:
    """All that requests share; start and close belong to the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        """Name the connections; nothing is opened yet."""
        self.settings = settings
        self.sealer = Sealer(settings.sealing)
        self.pool: Connection[Pool] = Connection("database", self._open_pool)
        self.producer: Connection[AIOKafkaProducer] = Connection("broker", lambda: open_producer(settings, linger_ms=0))
        self.valkey: Connection[Any] = Connection("cache", self._open_valkey)
        self.spool = _spool_of(settings)
        self.durable = BrokerFirst(FrameTopic(lambda: self.producer.opened, settings), self.spool, clock_ms=now_ms)
        self.collector = Collector(
            self.durable,
            shards=settings.audience_shards,
            recorded_by=f"ingest_api/{settings.instance}",
            clock_ms=now_ms,
        )
        self.live = Hints(settings)
        self.log_ends = Log(settings)
        self._opening: list[asyncio.Task[None]] = []

    @property
    def tracking(self) -> KeyRing:
        """The keys of links."""
        return self.settings.tracking

    async def start(self) -> None:
        """Open the connections, and return once they are open or 5 s have passed; raises SpoolBusyError."""
        spool = asyncio.create_task(self._open_spool())
        self._opening = [spool, *(asyncio.create_task(one.open()) for one in (self.pool, self.producer, self.valkey))]
        await asyncio.wait(self._opening, timeout=START_WAIT_S)
        if spool.done():
            spool.result()

    async def close(self) -> None:
        """Send what is gathered, then close in the opposite order."""
        await self.live.close()
        await self.log_ends.close()
        await self.collector.drain()
        await self.durable.close()
        if self.spool is not None:
            await self.spool.close()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for one in (self.valkey, self.producer, self.pool):
            try:
                async with asyncio.timeout(CLOSE_WAIT_S):
                    await one.close()
            except TimeoutError:
                log.warning("connection.left_open", service=one.service)

    def checks(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """What /health and /readyz ask of each service; a check that fails raises."""

        async def database() -> object:
            return await self.pool.require().fetchval("SELECT 1")

        async def broker() -> object:
            return await self.producer.require().client.fetch_all_metadata()

        async def cache() -> object:
            return await self.valkey.require().ping()

        async def spool() -> object:
            assert self.spool is not None
            if not self.spool.is_open:
                raise SpoolRefusesError
            return self.spool.frames

        checks: dict[str, Callable[[], Awaitable[object]]] = {"database": database, "broker": broker, "cache": cache}
        return checks if self.spool is None else checks | {"spool": spool}

    async def _open_spool(self) -> None:
        if self.spool is not None:
            await self.spool.open()
        self.durable.start()

    @contextlib.asynccontextmanager
    async def _open_pool(self) -> AsyncIterator[Pool]:
        async with await open_pool(self.settings, process="api", max_size=POOL_SIZE) as pool:
            await check_installation(pool, self.settings.audience_shards)
            yield pool

    @contextlib.asynccontextmanager
    async def _open_valkey(self) -> AsyncIterator[Any]:
        client = open_valkey(self.settings)
        try:
            yield client
        finally:
            await client.aclose()


def _spool_of(settings: Settings) -> Spool | None:
    """The spool of this replica; None where no folder is set."""
    if settings.spool_dir is None:
        return None
    return Spool(settings.spool_dir / settings.instance, max_bytes=settings.spool_max_bytes, clock_ms=now_ms)
