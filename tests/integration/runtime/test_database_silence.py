"""The pool before a server that has fallen silent: nobody waits for it, and it is asked again without haste."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import asyncpg
import pytest

from publishing.runtime import database
from publishing.runtime.clock import monotonic_s
from publishing.runtime.database import Pool, Reconnects, open_pool
from publishing.runtime.settings import Settings
from tests.fakes.tcp_relay import Relay, relay_to

pytestmark = pytest.mark.integration

WAIT_S = 0.2
# Far below the time that the server would be waited for.
SOON_S = 1.5
SILENCE_S = 600.0


@asynccontextmanager
async def pool_behind_relay(settings: Settings) -> AsyncIterator[tuple[Pool, Relay]]:
    """A pool of two connections, and the relay that it goes through."""
    async with relay_to(settings.database) as (relay, url):
        behind = settings.model_copy(update={"database_url": url})
        async with await open_pool(behind, process="test", max_size=2) as pool:
            yield pool, relay


async def plain(pool: Pool) -> int:
    """A statement of its own."""
    return int(await pool.fetchval("SELECT 1"))


async def in_a_transaction(pool: Pool) -> int:
    """A statement in a transaction."""
    async with pool.acquire() as connection, connection.transaction():
        return int(await connection.fetchval("SELECT 1"))


@pytest.mark.parametrize("statement", [plain, in_a_transaction])
async def test_a_silent_server_is_not_waited_for(
    settings: Settings, statement: Callable[[Pool], Awaitable[int]]
) -> None:
    """A statement whose time is over ends there and then, every time, and the pool serves when the server is back."""
    async with pool_behind_relay(settings) as (pool, relay):
        assert await statement(pool) == 1
        relay.delay_s = SILENCE_S
        for _ in range(4):
            started_s = monotonic_s()
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    await statement(pool)
            assert monotonic_s() - started_s < SOON_S
        relay.delay_s = 0.0
        assert await statement(pool) == 1


async def test_nothing_is_rolled_back_on_a_silent_server(settings: Settings) -> None:
    """A transaction whose statement is given up ends there and then: a rollback would be another question."""
    async with pool_behind_relay(settings) as (pool, relay):

        async def fall_silent() -> None:
            async with pool.acquire() as connection, connection.transaction():
                relay.delay_s = SILENCE_S
                async with asyncio.timeout(WAIT_S):
                    await connection.fetchval("SELECT 1")

        started_s = monotonic_s()
        with pytest.raises(TimeoutError):
            await fall_silent()
        assert monotonic_s() - started_s < SOON_S
        relay.delay_s = 0.0
        assert await in_a_transaction(pool) == 1


async def test_the_server_ends_what_nobody_waits_for(settings: Settings, pool: Pool) -> None:
    """A statement whose connection was closed is ended by the server within seconds."""
    async with pool_behind_relay(settings) as (other, _):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                await other.execute("SELECT pg_sleep(9) AS left_alone")
        sql = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%AS left_alone' AND state = 'active'"
        async with asyncio.timeout(5.0):
            while await pool.fetchval(f"{sql} AND pid <> pg_backend_pid() AND datname = current_database()"):
                await pool.execute("SELECT pg_sleep(0.1)")


async def test_reconnects_keep_their_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty that ask at once for a server that is away make no more than one attempt a pause."""
    monkeypatch.setattr(database, "RECONNECT_PAUSE_S", 0.2)
    monkeypatch.setattr(database, "RECONNECT_JITTER_S", 0.1)
    begun = 0

    async def refuse(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal begun
        begun += 1
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reconnects = Reconnects(random.Random(7))
    address = f"postgresql://tidewire@127.0.0.1:{port}/tidewire?sslmode=disable"
    attempts = [asyncio.create_task(reconnects.connect(address)) for _ in range(20)]
    try:
        await asyncio.sleep(1.1)
    finally:
        for attempt in attempts:
            attempt.cancel()
        ended = await asyncio.gather(*attempts, return_exceptions=True)
        server.close()
    assert 2 <= begun <= 6
    assert {type(error) for error in ended} <= {
        asyncio.CancelledError,
        ConnectionResetError,
        ConnectionError,
        asyncpg.ConnectionDoesNotExistError,
    }
