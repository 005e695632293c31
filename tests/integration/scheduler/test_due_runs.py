"""Due publications become runs, once."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from publishing.stores.scheduling import SQL, DueRun, Scheduling
from streams.runs import Runs
from topics.catalog import PUBLICATION_CHANGED, PUBLICATION_DUE

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
SHARDS = 4
Add = Callable[..., Awaitable[int]]


async def test_a_due_publication_becomes_a_run_with_its_marks(pool: asyncpg.Pool, add_publication: Add) -> None:
    """The run carries what each shard must have applied, and each shard gets both records."""
    await pool.execute("INSERT INTO publishing_shard_marks VALUES (0, 10), (2, 30)")
    await pool.execute("UPDATE publishing_content_mark SET last_batch_id = 5")
    publication = await add_publication(deadline_minutes=90)
    (due,) = await Scheduling(pool, audience_shards=SHARDS).claim_due(NOW, 10)
    run = await pool.fetchrow("SELECT * FROM publishing_runs")
    assert run is not None
    assert (due.publication_id, due.run_id) == (publication, run["id"])
    assert (run["due_at"], run["deadline_at"]) == (NOW, NOW + dt.timedelta(minutes=90))
    assert (run["after_subscribers"], run["after_content"], run["shards"]) == ([10, 0, 30, 0], 5, SHARDS)
    rows = await pool.fetch("SELECT topic, partition, payload FROM publishing_outbox ORDER BY topic, partition")
    assert [(row["topic"], row["partition"]) for row in rows] == [
        (topic.name, shard) for topic in (PUBLICATION_CHANGED, PUBLICATION_DUE) for shard in range(SHARDS)
    ]
    assert [row["payload"]["after_subscribers"] for row in rows[SHARDS:]] == [10, 0, 30, 0]
    stored = await pool.fetchrow("SELECT status, next_due_at FROM publishing_publications")
    assert stored is not None
    assert (stored["status"], stored["next_due_at"]) == ("running", None)


async def test_only_what_is_due_and_active_becomes_a_run(pool: asyncpg.Pool, add_publication: Add) -> None:
    """The future, paused, cancelled and undated publications are left alone."""
    await add_publication(due_at=NOW + dt.timedelta(seconds=1))
    await add_publication(status="paused")
    await add_publication(status="cancelled")
    await add_publication(status="running", due_at=None)
    assert await Scheduling(pool, audience_shards=SHARDS).claim_due(NOW, 10) == []


async def test_a_run_that_exists_is_not_made_again(pool: asyncpg.Pool, add_publication: Add, add_run: Add) -> None:
    """(publication, due time) is unique: the publication moves on and no shard hears of a second run."""
    publication = await add_publication()
    await add_run(publication)
    claimed = await Scheduling(pool, audience_shards=SHARDS).claim_due(NOW, 10)
    assert claimed == [DueRun(publication_id=publication, run_id=None)]
    assert await pool.fetchval("SELECT count(*) FROM publishing_outbox WHERE topic = $1", PUBLICATION_DUE.name) == 0


async def test_many_schedulers_make_each_run_once(pool: asyncpg.Pool, add_publication: Add) -> None:
    """Four claimers at once share the publications: each becomes one run and P records."""
    for _ in range(40):
        await add_publication()
    stores = [Scheduling(pool, audience_shards=SHARDS) for _ in range(4)]
    claimed = await asyncio.gather(*(store.claim_due(NOW, 10) for store in stores for _ in range(3)))
    rest = await stores[0].claim_due(NOW, 100)
    runs = [due.run_id for batch in [*claimed, rest] for due in batch]
    assert len(runs) == len(set(runs)) == 40
    assert await pool.fetchval("SELECT count(*) FROM publishing_outbox WHERE topic = $1", PUBLICATION_DUE.name) == 160


async def test_the_loop_claims_in_batches(pool: asyncpg.Pool, add_publication: Add) -> None:
    """A full batch asks for another pass at once, an empty one pauses."""
    for _ in range(51):
        await add_publication()
    runs = Runs(Scheduling(pool, audience_shards=SHARDS), clock=lambda: NOW)
    assert [await runs.begin() for _ in range(3)] == [True, False, False]
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs") == 51


# The mutant of R22: no row lock, and a run that is not unique.
UNGUARDED = (
    SQL.claim_due.replace("FOR UPDATE SKIP LOCKED", "")
    .replace("ON CONFLICT (publication_id, due_at) DO NOTHING", "")
    .replace("WHERE p.id = d.id", "WHERE p.id = d.id AND p.id > 0")
)


@pytest.mark.parametrize(("statement", "expected_runs"), [(SQL.claim_due, 1), (UNGUARDED, 2)])
async def test_the_guard_is_the_lock_and_the_key(
    pool: asyncpg.Pool, add_publication: Add, statement: str, expected_runs: int
) -> None:
    """Two claims that overlap make one run; the same statement without lock and key makes two."""
    if statement == UNGUARDED:
        await pool.execute("ALTER TABLE publishing_runs DROP CONSTRAINT publishing_runs_publication_id_due_at_key")
    await add_publication()
    arguments = (NOW, 10, SHARDS, PUBLICATION_DUE.name, PUBLICATION_CHANGED.name, None)
    async with pool.acquire() as first, pool.acquire() as second:
        opened = first.transaction()
        await opened.start()
        await first.fetch(statement, *arguments)
        overlapping = asyncio.create_task(second.fetch(statement, *arguments))
        await asyncio.wait([overlapping], timeout=0.5)
        await opened.commit()
        async with asyncio.timeout(10):
            await overlapping
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs") == expected_runs
