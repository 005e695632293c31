"""Brings a database to the newest revision, and says where it stands."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import create_async_engine

T = TypeVar("T")
HERE = Path(__file__).parent
# Two processes that migrate at once take turns on this number ('tide' in ASCII).
ADVISORY_LOCK = 0x74696465


class MigrationPendingError(Exception):
    """The database is behind the code: run `tidewire migrate up`."""

    def __init__(self, current: str | None, newest: str) -> None:
        super().__init__(f"{self.__doc__} (database: {current}, code: {newest})")
        self.current = current
        self.newest = newest


@dataclass(frozen=True, slots=True)
class MigrationStatus:
    """Where a database stands: revisions by id, oldest first."""

    current: str | None
    newest: str
    pending: tuple[str, ...]


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config


async def _connected(database_url: str, action: Callable[[Connection], T]) -> T:
    address = database_url.replace("postgresql://", "postgresql+asyncpg://", 1)
    engine = create_async_engine(address)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(action)
    finally:
        await engine.dispose()


def _upgrade(connection: Connection) -> None:
    config = _config()
    config.attributes["connection"] = connection
    connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": ADVISORY_LOCK})
    connection.commit()
    command.upgrade(config, "head")
    connection.commit()
    connection.execute(text("SELECT pg_advisory_unlock(:number)"), {"number": ADVISORY_LOCK})
    connection.commit()


def _status(connection: Connection) -> MigrationStatus:
    scripts = ScriptDirectory.from_config(_config())
    current = MigrationContext.configure(connection).get_current_revision()
    newest = scripts.get_current_head()
    assert newest is not None
    waiting = [script.revision for script in scripts.iterate_revisions("head", current or "base")]
    return MigrationStatus(current=current, newest=newest, pending=tuple(reversed(waiting)))


async def upgrade(database_url: str) -> MigrationStatus:
    """Apply every pending revision, each in its own transaction; safe to run from two processes at once."""
    await _connected(database_url, _upgrade)
    return await status(database_url)


async def status(database_url: str) -> MigrationStatus:
    """Compare the database's revision with the code's."""
    return await _connected(database_url, _status)


async def check(database_url: str) -> None:
    """Raise MigrationPendingError when the database is behind the code."""
    found = await status(database_url)
    if found.pending:
        raise MigrationPendingError(found.current, found.newest)
