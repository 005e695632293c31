"""The database: the migrations give the snapshot, two at once take turns, and a database behind the code is refused."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import asyncpg
import pytest

from migrations import apply
from migrations.snapshot import SNAPSHOT, dump
from publishing.local.postgres import installation
from tests.conftest import Services

pytestmark = pytest.mark.integration


@pytest.fixture
async def empty_database(services: Services) -> AsyncIterator[str]:
    """The address of a database without any table."""
    name = f"tidewire_empty_{uuid.uuid4().hex[:10]}"
    connection = await asyncpg.connect(services.database)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
    yield services.database.rsplit("/", 1)[0] + "/" + name
    await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    await connection.close()


async def test_all_migrations_make_what_the_snapshot_makes(database_url: str, empty_database: str) -> None:
    """A database from zero by the migrations equals one made from schema.sql."""
    connection = await asyncpg.connect(empty_database)
    await connection.execute(SNAPSHOT.read_text(encoding="utf-8"))
    await connection.close()
    pg_dump = installation() / "bin" / "pg_dump"
    assert dump(pg_dump, database_url) == dump(pg_dump, empty_database)


async def test_two_processes_migrate_at_once(empty_database: str) -> None:
    """The second waits for the first and finds nothing left to do."""
    found = await asyncio.gather(apply.upgrade(empty_database), apply.upgrade(empty_database))
    assert [status.pending for status in found] == [(), ()]


async def test_a_database_behind_the_code_is_refused(empty_database: str) -> None:
    """A process that starts on an old database says which revision is missing."""
    with pytest.raises(apply.MigrationPendingError, match="tidewire migrate up") as caught:
        await apply.check(empty_database)
    assert caught.value.current is None


async def test_daily_partitions_are_made_once(database_url: str) -> None:
    """A delivery, an event id and a minute window each go to the partition of their day."""
    connection = await asyncpg.connect(database_url)
    made = "SELECT publishing_ensure_days('2026-03-28', '2026-03-30')"
    assert await connection.fetchval(made) == 9
    assert await connection.fetchval(made) == 0
    await connection.execute("INSERT INTO publishing_event_ids VALUES ('2026-03-29', $1)", bytes(16))
    where = await connection.fetchval("SELECT tableoid::regclass::text FROM publishing_event_ids")
    assert where == "publishing_event_ids_20260329"
    await connection.close()
