"""Owns the connections of the API: opened in the background, so that links work while the services are away."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from ingest_api.collector import Collector, NotDurableError
from ingest_api.live import Hints
from ingest_api.problems import unavailable
from publishing.domain.keys import KeyRing
from publishing.runtime.clock import now_ms, utc_now
from publishing.runtime.correlation import record_headers
from publishing.runtime.database import check_installation, open_pool
from publishing.runtime.logs import get_logger
from publishing.runtime.producer import full_name, open_producer, send_frame
from publishing.runtime.sealing import Sealer
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import open_valkey
from publishing.stores.availability import Pool
from topics.catalog import ENGAGEMENT_RECORDED

# How long a start waits for the services before it answers without them.
START_WAIT_S = 5.0
FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0
# A broker that has not acknowledged by then is away, for a reader who waits for a redirect.
BROKER_WAIT_S = 2.0
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


class BrokerDurable:
    """Keeps frames in the broker: all replicas acknowledge, or the frame is not durable."""

    def __init__(self, producer: Connection[AIOKafkaProducer], settings: Settings) -> None:
        """Keep the connection and the topic's full name."""
        self._producer = producer
        self._topic = full_name(settings, ENGAGEMENT_RECORDED)
        self._recorded_by = f"ingest_api/{settings.instance}"

    async def keep(self, shard: int, frame: bytes) -> None:
        """Produce the frame to its shard's partition; raises NotDurableError after 2 s."""
        producer = self._producer.opened
        if producer is None:
            raise NotDurableError
        headers = record_headers(
            "tidewire.EngagementRecorded", ce_id=secrets.token_hex(16), ce_source=self._recorded_by, now=utc_now()
        )
        try:
            async with asyncio.timeout(BROKER_WAIT_S):
                await send_frame(producer, self._topic, frame, partition=shard, headers=headers)
        except (TimeoutError, KafkaError, OSError) as error:
            raise NotDurableError from error


class Resources:
    """All that requests share; start and close belong to the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        """Name the connections; nothing is opened yet."""
        self.settings = settings
        self.sealer = Sealer(settings.sealing)
        self.pool: Connection[Pool] = Connection("database", self._open_pool)
        self.producer: Connection[AIOKafkaProducer] = Connection("broker", lambda: open_producer(settings))
        self.valkey: Connection[Any] = Connection("cache", self._open_valkey)
        self.collector = Collector(
            BrokerDurable(self.producer, settings),
            shards=settings.audience_shards,
            recorded_by=f"ingest_api/{settings.instance}",
            clock_ms=now_ms,
        )
        self.live = Hints(settings)
        self._opening: list[asyncio.Task[None]] = []

    @property
    def tracking(self) -> KeyRing:
        """The keys of links."""
        return self.settings.tracking

    async def start(self) -> None:
        """Open the connections, and return once they are open or 5 s have passed."""
        self._opening = [asyncio.create_task(one.open()) for one in (self.pool, self.producer, self.valkey)]
        await asyncio.wait(self._opening, timeout=START_WAIT_S)

    async def close(self) -> None:
        """Send what is gathered, then close in the opposite order."""
        await self.live.close()
        await self.collector.drain()
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        for one in (self.valkey, self.producer, self.pool):
            await one.close()

    def checks(self) -> dict[str, Callable[[], Awaitable[object]]]:
        """What /health and /readyz ask of each service; a check that fails raises."""

        async def database() -> object:
            return await self.pool.require().fetchval("SELECT 1")

        async def broker() -> object:
            return await self.producer.require().client.fetch_all_metadata()

        async def cache() -> object:
            return await self.valkey.require().ping()

        return {"database": database, "broker": broker, "cache": cache}

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
