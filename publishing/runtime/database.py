"""The PostgreSQL pool of a process: nobody waits for a server that is given up, and it is asked again without haste."""

import asyncio
import contextlib
import json
import random
from typing import Any

import asyncpg
from asyncpg.pool import PoolAcquireContext
from asyncpg.transaction import Transaction

from publishing.runtime.clock import monotonic_s
from publishing.runtime.settings import Settings

Pool = asyncpg.Pool

STATEMENT_TIMEOUT_MS = 10_000
# A process frozen inside a transaction must not hold the fence's lock for long.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
# A connection that is given up is closed, not cancelled: the server looks this often whether its client is there.
CLIENT_CHECK_MS = 1_000
COMMAND_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0
# After an attempt that failed the next begins 2 to 3 s after it began. An attempt may open two connections, since it is
# made with TLS and without, and a pool is to open one a second at most while the database is away.
RECONNECT_PAUSE_S = 2.0
RECONNECT_JITTER_S = 1.0
# What asyncpg.create_pool takes where nothing is said.
MAX_QUERIES = 50_000
MAX_IDLE_S = 300.0

_GIVEN_UP = (asyncio.CancelledError, TimeoutError)


class InstallationError(Exception):
    """TIDEWIRE_AUDIENCE_SHARDS differs from the number this installation was created with: set it back."""

    def __init__(self, stored: int, asked: int) -> None:
        super().__init__(f"{self.__doc__} (stored: {stored}, asked: {asked})")
        self.stored = stored
        self.asked = asked


class _Transaction(Transaction):
    """A transaction that is given up with its connection: a rollback would wait for the server."""

    def __init__(self, connection: asyncpg.Connection, *how: Any) -> None:
        super().__init__(connection, *how)
        self.connection = connection

    async def __aexit__(self, extype: object, ex: object, tb: object) -> None:
        if isinstance(ex, _GIVEN_UP):
            self.connection.terminate()
        else:
            await super().__aexit__(extype, ex, tb)


class _Connection(asyncpg.Connection):
    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Transaction:
        return _Transaction(self, isolation, readonly, deferrable)


class _Lease(PoolAcquireContext):
    """A connection for the length of a block; one whose statement was given up is closed, and another takes its place.

    The pool itself would wait until the server has confirmed that it cancelled the statement.
    """

    async def __aexit__(self, *exc: object) -> None:
        if self.connection is not None and isinstance(exc[1], _GIVEN_UP):
            with contextlib.suppress(asyncpg.InterfaceError):  # a transaction has closed it already
                self.connection.terminate()
        await super().__aexit__(*exc)


class _Pool(asyncpg.Pool):
    def acquire(self, *, timeout: float | None = None) -> PoolAcquireContext:
        return _Lease(self, timeout)


class Reconnects:
    """Opens connections one at a time, and after one that failed not before a pause with jitter."""

    def __init__(self, chance: random.Random) -> None:
        """Keep where the jitter comes from."""
        self._chance = chance
        self._turn = asyncio.Lock()
        self._not_before_s = 0.0

    async def connect(self, *arguments: Any, **settings: Any) -> asyncpg.Connection:
        """Connect as asyncpg.connect does, when it is time; jsonb columns are Python values."""
        async with self._turn:
            await asyncio.sleep(max(0.0, self._not_before_s - monotonic_s()))
            self._not_before_s = monotonic_s() + RECONNECT_PAUSE_S + RECONNECT_JITTER_S * self._chance.random()
            connection: asyncpg.Connection = await asyncpg.connect(*arguments, **settings)
            try:
                await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)
            except BaseException:
                connection.terminate()
                raise
            self._not_before_s = 0.0
            return connection


async def open_pool(settings: Settings, *, process: str, min_size: int = 1, max_size: int = 8) -> asyncpg.Pool:
    """Open the pool; jsonb columns are Python values, and every statement ends within 10 s."""
    return await _Pool(
        settings.database,
        min_size=min_size,
        max_size=max_size,
        max_queries=MAX_QUERIES,
        max_inactive_connection_lifetime=MAX_IDLE_S,
        connect=Reconnects(random.Random()).connect,  # noqa: S311  - jitter
        loop=None,
        connection_class=_Connection,
        record_class=asyncpg.Record,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        server_settings={
            "application_name": f"tidewire-{process}",
            "timezone": "UTC",
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
            "client_connection_check_interval": str(CLIENT_CHECK_MS),
        },
    )


async def check_installation(pool: asyncpg.Pool, audience_shards: int) -> None:
    """Fix the number of shards at the first start; raise InstallationError when it differs later."""
    await pool.execute(
        "INSERT INTO publishing_installation (audience_shards) VALUES ($1) ON CONFLICT DO NOTHING", audience_shards
    )
    stored = await pool.fetchval("SELECT audience_shards FROM publishing_installation")
    if stored != audience_shards:
        raise InstallationError(stored, audience_shards)


async def create_database(server_url: str, name: str) -> str:
    """Make an empty database (name: lower-case letters, digits, `_`) on the server and return its address."""
    connection = await asyncpg.connect(server_url, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute(f'CREATE DATABASE "{name}"')
    finally:
        await connection.close()
    return server_url.rsplit("/", 1)[0] + "/" + name


async def drop_database(server_url: str, database_url: str) -> None:
    """Drop a database that create_database made, ending its connections."""
    connection = await asyncpg.connect(server_url, timeout=CONNECT_TIMEOUT_S)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{database_url.rsplit("/", 1)[1]}" WITH (FORCE)')
    finally:
        await connection.close()
