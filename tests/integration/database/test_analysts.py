"""What analysts read: views that say what is closed, each explained, by a role that reads them and nothing else."""

import datetime as dt
import re
import uuid
from pathlib import Path

import asyncpg
import pytest

from migrations import apply
from tests.conftest import TEST_SHARDS, Services

pytestmark = pytest.mark.integration

GUIDE = Path(__file__).parents[3] / "docs" / "analytics.md"
AT = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
VIEWS = {
    "channels",
    "conservation",
    "deliveries_by_state",
    "engagement_day",
    "engagement_hour",
    "engagement_minute",
    "freshness",
    "link_clicks",
    "publication_summary",
    "runs",
    "watermarks",
}


@pytest.fixture
async def filled(pool: asyncpg.Pool) -> asyncpg.Pool:
    """Two hours of one publication, the first of them closed."""
    await pool.execute("INSERT INTO publishing_installation (audience_shards) VALUES ($1)", TEST_SHARDS)
    await pool.execute(
        "INSERT INTO publishing_watermarks SELECT 'engagement', n, $1 FROM generate_series(0, $2::int - 1) AS n",
        AT + dt.timedelta(minutes=90),
        TEST_SHARDS,
    )
    await pool.execute(
        "INSERT INTO publishing_publications (id, name, status, definition, created_by) OVERRIDING SYSTEM VALUE "
        """VALUES (12, 'weekly', 'running', '{"trigger": {"kind": "now"}}', 'tests')"""
    )
    await pool.executemany(
        "INSERT INTO publishing_analytics VALUES ($1, $2, 12, 77, 1, 0, $3, $4, $5, $6, 0, 0, $2, $2)",
        [
            (grain, AT + dt.timedelta(hours=hours), kind, verdict, total, uniques)
            for grain in ("hour", "day")
            for hours, kind, verdict, total, uniques in (
                (0, "accepted", "unknown", 100, 0),
                (0, "opened", "human", 40, 30),
                (1, "opened", "machine", 60, 50),
            )
        ],
    )
    return pool


async def test_views_say_what_is_closed(filled: asyncpg.Pool) -> None:
    """A window is closed once every partition has passed its end, and by no less."""
    closed = "SELECT window_start, closed FROM analytics.engagement_hour WHERE kind = 'opened' ORDER BY 1"
    assert [row["closed"] for row in await filled.fetch(closed)] == [True, False]
    agreed = "SELECT bool_and(closed = publishing_is_closed('hour', window_start)) FROM analytics.engagement_hour"
    assert await filled.fetchval(agreed)
    await filled.execute("DELETE FROM publishing_watermarks WHERE partition = 0")
    assert [row["closed"] for row in await filled.fetch(closed)] == [False, False]
    (fresh,) = await filled.fetch("SELECT * FROM analytics.freshness")
    assert (fresh["watermark"], fresh["partitions_heard"], fresh["partitions"]) == (None, TEST_SHARDS - 1, TEST_SHARDS)


async def test_every_view_and_column_is_explained(pool: asyncpg.Pool) -> None:
    """An analyst who asks the database what a column means is told."""
    rows = await pool.fetch(
        "SELECT c.relname, a.attname, col_description(c.oid, a.attnum) AS said, obj_description(c.oid) AS about "
        "FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 "
        "WHERE c.relnamespace = 'analytics'::regnamespace AND c.relkind = 'v'"
    )
    assert {row["relname"] for row in rows} == VIEWS
    assert [(row["relname"], row["attname"]) for row in rows if not (row["said"] and row["about"])] == []


async def test_the_role_reads_views_only(filled: asyncpg.Pool) -> None:
    """tidewire_analyst reads every view; every table is refused, and so is every write."""
    async with filled.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE tidewire_analyst")
        for view in sorted(VIEWS):
            await connection.fetch(f"TABLE analytics.{view}")
        assert await connection.fetchval("SELECT sum(total) FROM analytics.engagement_hour WHERE closed") == 140
        tables = await connection.fetch(
            "SELECT oid::regclass::text AS name FROM pg_class "
            "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
        )
        assert "publishing_subscribers" in {row["name"] for row in tables}
        refused = [f"TABLE {row['name']}" for row in tables]
        refused += ["DELETE FROM analytics.channels", "CREATE TABLE analytics.mine (id int)"]
        for statement in refused:
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                async with connection.transaction():
                    await connection.execute(statement)


async def test_who_may_not_make_roles(services: Services, pool: asyncpg.Pool) -> None:
    """A migrator without the right to make roles goes on without, and one with it makes the role that is missing."""
    name = f"tidewire_plain_{uuid.uuid4().hex[:10]}"
    connection = await asyncpg.connect(services.database)
    await connection.execute(f"CREATE ROLE {name} LOGIN")
    await connection.execute(f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0")
    try:
        address = re.sub(r"//[^@/]*@", f"//{name}@", services.database).rsplit("/", 1)[0]
        assert (await apply.upgrade(f"{address}/{name}")).pending == ()
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
    async with pool.acquire() as inside:
        change = inside.transaction()
        await change.start()
        await inside.execute(f"ALTER ROLE tidewire_analyst RENAME TO {name}_renamed")
        await inside.execute(f"SET LOCAL ROLE {name}")
        assert await inside.fetchval("SELECT publishing_grant_analyst()") is False
        await inside.execute("RESET ROLE")
        assert await inside.fetchval("SELECT publishing_grant_analyst()") is True
        assert await inside.fetchval("SELECT has_table_privilege('tidewire_analyst', 'analytics.runs', 'SELECT')")
        await change.rollback()
    await connection.execute(f"DROP ROLE {name}")
    await connection.close()


async def test_the_guide_is_true(filled: asyncpg.Pool) -> None:
    """Every query of docs/analytics.md runs as an analyst, and finds something."""
    queries = re.findall(r"^```sql\n(.+?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    queries = [one for one in queries if one.startswith(("SELECT", "WITH"))]
    assert len(queries) >= 4
    await filled.execute(
        "INSERT INTO publishing_channels (id, kind, name, config_sealed) OVERRIDING SYSTEM VALUE "
        "VALUES (1, 'email', 'm', '')"
    )
    await filled.execute(
        "INSERT INTO publishing_runs (id, publication_id, publication_version, due_at, shards) OVERRIDING SYSTEM VALUE "
        "VALUES (77, 12, 1, now(), 4)"
    )
    await filled.execute(
        "INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk, "
        "lane, state, reason, content_ids, scores) "
        "SELECT run_day, 77, 1, 5, 12, 1, 0, 'bulk', 'failed', 'refused', '{}', '{}' FROM publishing_runs"
    )
    async with filled.acquire() as connection, connection.transaction():
        await connection.execute("SET LOCAL ROLE tidewire_analyst")
        for query in queries:
            assert await connection.fetch(query), query
