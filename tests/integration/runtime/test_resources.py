"""The opened resources against the real services: pool, installation, health, producer, cache."""

import socket

import aiohttp
import asyncpg
import pytest
from prometheus_client import CollectorRegistry, Counter

from publishing.runtime.database import InstallationError, check_installation, create_database, drop_database
from publishing.runtime.health import HealthPortError, HealthServer
from publishing.runtime.producer import full_name, open_producer, send_frame
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import open_valkey
from tests.conftest import MakeTopics, Services
from topics.catalog import CONTENT_SUBMITTED

pytestmark = pytest.mark.integration


async def test_jsonb_is_a_python_value_and_statements_end(pool: asyncpg.Pool) -> None:
    """Jsonb goes both ways as a value, and no statement of ours runs longer than its limit."""
    assert await pool.fetchval("SELECT $1::jsonb", {"a": [1, None]}) == {"a": [1, None]}
    assert await pool.fetchval("SHOW statement_timeout") == "10s"
    assert await pool.fetchval("SHOW idle_in_transaction_session_timeout") == "5s"


async def test_the_number_of_shards_is_fixed_at_the_first_start(pool: asyncpg.Pool) -> None:
    """A second start with another number of shards is refused."""
    await check_installation(pool, 4)
    await check_installation(pool, 4)
    with pytest.raises(InstallationError, match="stored: 4, asked: 8"):
        await check_installation(pool, 8)


async def test_a_database_is_made_and_dropped(services: Services) -> None:
    """create_database returns an address that answers until drop_database."""
    url = await create_database(services.database, "tidewire_made_and_dropped")
    connection = await asyncpg.connect(url)
    await connection.close()
    await drop_database(services.database, url)
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        await asyncpg.connect(url)


async def test_health_names_what_is_wrong(settings: Settings) -> None:
    """Ready is 503 with the failing service named; alive stays 200; metrics are exposed."""
    registry = CollectorRegistry()
    Counter("tidewire_example_total", "An example.", registry=registry).inc()

    async def fine() -> None:
        """Answer at once."""

    async def broken() -> None:
        raise ConnectionRefusedError

    server = HealthServer(settings, {"kafka": fine, "database": broken}, registry)
    await server.start()
    try:
        async with aiohttp.ClientSession(f"http://127.0.0.1:{server.port}") as http:
            async with http.get("/readyz") as answer:
                assert answer.status == 503
                assert (await answer.json())["services"] == {"kafka": "ok", "database": "ConnectionRefusedError"}
            async with http.get("/health") as answer:
                assert (answer.status, (await answer.json())["status"]) == (200, "degraded")
            async with http.get("/livez") as answer:
                assert answer.status == 200
            async with http.get("/metrics") as answer:
                assert "tidewire_example_total 1.0" in await answer.text()
    finally:
        await server.stop()


async def test_a_taken_health_port_is_one_clear_error(settings: Settings) -> None:
    """The error names the setting and the remedy."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = settings.model_copy(update={"health_port": taken.getsockname()[1]})
        with pytest.raises(HealthPortError):
            await HealthServer(wanted, {}, CollectorRegistry()).start()


async def test_a_frame_is_acknowledged_at_its_partition(settings: Settings, make_topics: MakeTopics) -> None:
    """A record goes to the partition asked for under the installation's prefix."""
    await make_topics(CONTENT_SUBMITTED)
    async with open_producer(settings) as producer:
        found = await send_frame(producer, full_name(settings, CONTENT_SUBMITTED), b"x", partition=3)
    assert (found.topic, found.partition, found.offset) == (settings.topic_prefix + "content.submitted.v1", 3, 0)


async def test_the_cache_answers(settings: Settings) -> None:
    """The client talks to the server of the settings."""
    client = open_valkey(settings)
    assert await client.ping()
    await client.aclose()
