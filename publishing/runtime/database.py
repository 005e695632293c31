"""The PostgreSQL pool of a process."""

import json

import asyncpg

from publishing.runtime.settings import Settings

Pool = asyncpg.Pool

STATEMENT_TIMEOUT_MS = 10_000
# A process frozen inside a transaction must not hold the fence's lock for long.
IDLE_IN_TRANSACTION_TIMEOUT_MS = 5_000
COMMAND_TIMEOUT_S = 15.0
CONNECT_TIMEOUT_S = 5.0


class InstallationError(Exception):
    """TIDEWIRE_AUDIENCE_SHARDS differs from the number this installation was created with: set it back."""

    def __init__(self, stored: int, asked: int) -> None:
        super().__init__(f"{self.__doc__} (stored: {stored}, asked: {asked})")
        self.stored = stored
        self.asked = asked


async def _prepare(connection: asyncpg.Connection) -> None:
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=json.dumps, decoder=json.loads)


async def open_pool(settings: Settings, *, process: str, min_size: int = 1, max_size: int = 8) -> asyncpg.Pool:
    """Open the pool; jsonb columns are Python values, and every statement ends within 10 s."""
    return await asyncpg.create_pool(
        settings.database,
        min_size=min_size,
        max_size=max_size,
        timeout=CONNECT_TIMEOUT_S,
        command_timeout=COMMAND_TIMEOUT_S,
        init=_prepare,
        server_settings={
            "application_name": f"tidewire-{process}",
            "timezone": "UTC",
            "statement_timeout": str(STATEMENT_TIMEOUT_MS),
            "idle_in_transaction_session_timeout": str(IDLE_IN_TRANSACTION_TIMEOUT_MS),
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
