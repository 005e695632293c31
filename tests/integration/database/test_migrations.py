"""The database: the migrations give the snapshot, two at once take turns, and a database behind the code is refused."""

import asyncio
import datetime as dt
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
    """A delivery, an event id and a minute window each go to their day's partition, an hour window to its month's."""
    connection = await asyncpg.connect(database_url)
    made = "SELECT publishing_ensure_days('2026-03-28', '2026-03-30')"
    assert await connection.fetchval(made) == 10
    assert await connection.fetchval(made) == 0
    await connection.execute("INSERT INTO publishing_event_ids VALUES ('2026-03-29', $1)", bytes(16))
    where = await connection.fetchval("SELECT tableoid::regclass::text FROM publishing_event_ids")
    assert where == "publishing_event_ids_20260329"
    await connection.close()


WINDOW = "INSERT INTO publishing_analytics VALUES ($1, $2, 1, 1, 1, 0, 'opened', 'human', 1, 1, 0, 0, $2, $2)"


async def test_a_partition_made_late_takes_its_rows_over(database_url: str) -> None:
    """Rows that came before their day or month had a partition move into it; their neighbours stay where they were."""
    connection = await asyncpg.connect(database_url)
    inside = dt.datetime(2026, 3, 29, 23, 59, tzinfo=dt.UTC)
    outside = dt.datetime(2026, 4, 2, tzinfo=dt.UTC)
    for grain, start in (("minute", inside), ("minute", outside), ("hour", inside), ("hour", outside)):
        await connection.execute(WINDOW, grain, start)
    await connection.execute("INSERT INTO publishing_event_ids VALUES ('2026-03-29', $1)", bytes(16))
    await connection.execute(
        "INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk,"
        " lane, state, content_ids, scores) VALUES ('2026-03-29', 1, 1, 1, 1, 0, 0, 'bulk', 'claimed', '{}', '{}')"
    )
    assert await connection.fetchval("SELECT publishing_ensure_days('2026-03-29', '2026-03-29')") == 4
    places = await connection.fetch(
        "SELECT tableoid::regclass::text AS name FROM publishing_analytics UNION ALL"
        " SELECT tableoid::regclass::text FROM publishing_event_ids UNION ALL"
        " SELECT tableoid::regclass::text FROM publishing_deliveries ORDER BY 1"
    )
    assert [row["name"] for row in places] == [
        "publishing_analytics_hour_202603",
        "publishing_analytics_hour_default",
        "publishing_analytics_minute_20260329",
        "publishing_analytics_minute_default",
        "publishing_deliveries_20260329",
        "publishing_event_ids_20260329",
    ]
    await connection.execute("UPDATE publishing_deliveries SET state = 'submitted'")
    await connection.close()


async def test_a_window_is_closed_once_every_partition_has_passed_its_end(database_url: str) -> None:
    """The slowest partition decides, and one that has said nothing keeps every window open."""
    connection = await asyncpg.connect(database_url)
    noon = dt.datetime(2026, 3, 29, 12, tzinfo=dt.UTC)
    await connection.execute("INSERT INTO publishing_installation (audience_shards) VALUES (2)")
    mark = "INSERT INTO publishing_watermarks (consumer, partition, watermark) VALUES ('engagement', $1, $2)"

    async def closed(grain: str, start: dt.datetime) -> object:
        return await connection.fetchval("SELECT publishing_is_closed($1, $2)", grain, start)

    await connection.execute(mark, 0, noon + dt.timedelta(hours=3))
    assert await closed("minute", noon) is False
    assert await connection.fetchval("SELECT analytics.watermark()") is None
    await connection.execute(mark, 1, noon + dt.timedelta(minutes=1))
    assert await closed("minute", noon) is True
    assert await closed("minute", noon + dt.timedelta(seconds=1)) is False
    assert await closed("hour", noon - dt.timedelta(hours=1)) is True
    assert await closed("hour", noon) is False
    assert await closed("day", noon.replace(hour=0)) is False
    await connection.close()
