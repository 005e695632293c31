"""A run ends when everything it planned is settled, and not before."""

import datetime as dt
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from publishing.domain.ledger import TERMINAL, State
from publishing.stores.scheduling import Scheduling
from streams.runs import Runs
from topics.catalog import PUBLICATION_CHANGED

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
SHARDS = 4
Add = Callable[..., Awaitable[int]]
AddDelivery = Callable[..., Awaitable[None]]


@pytest.fixture
def runs(pool: asyncpg.Pool) -> Runs:
    """The loop's steps at the time NOW."""
    return Runs(Scheduling(pool, audience_shards=SHARDS), clock=lambda: NOW)


@pytest.fixture
def add_planned(
    pool: asyncpg.Pool, add_publication: Add, add_run: Add, add_channel: Add, add_delivery: AddDelivery
) -> Add:
    """Insert a run whose shards have planned so many deliveries each, and deliveries of it in the states given."""

    async def add(planned: list[int], states: tuple[str, ...] = (), *, trigger: str = "at") -> int:
        publication = await add_publication(trigger=trigger, status="running", due_at=None)
        run = await add_run(publication)
        for shard, number in enumerate(planned):
            await pool.execute(
                "INSERT INTO publishing_run_shards (run_id, shard, candidates, planned) VALUES ($1, $2, $3, $3)",
                run,
                shard,
                number,
            )
        channel = await add_channel("email") if states else 0
        for destination, state in enumerate(states):
            await add_delivery(run, publication, channel, destination, state)
        return run

    return add


async def _statuses(pool: asyncpg.Pool) -> tuple[str, str]:
    row = await pool.fetchrow(
        "SELECT r.status AS run, p.status AS publication"
        " FROM publishing_runs r JOIN publishing_publications p ON p.id = r.publication_id ORDER BY r.id"
    )
    assert row is not None
    return row["run"], row["publication"]


@pytest.mark.parametrize(
    ("trigger", "expected"), [("now", "done"), ("at", "done"), ("on_content", "running"), ("every", "running")]
)
async def test_a_settled_run_ends(
    pool: asyncpg.Pool, runs: Runs, add_planned: Add, trigger: str, expected: str
) -> None:
    """With every shard planned and every delivery settled the run is done, and a single-run publication with it."""
    await add_planned([1, 1, 0, 0], ("accepted", "suppressed"), trigger=trigger)
    await runs.finish()
    assert await _statuses(pool) == ("done", expected)
    assert await pool.fetchval("SELECT finished_at FROM publishing_runs") == NOW
    records = await pool.fetch("SELECT partition FROM publishing_outbox WHERE topic = $1", PUBLICATION_CHANGED.name)
    assert sorted(row["partition"] for row in records) == (list(range(SHARDS)) if expected == "done" else [])


async def test_a_run_without_candidates_ends(pool: asyncpg.Pool, runs: Runs, add_planned: Add) -> None:
    """A run that planned nothing is done once every shard has said so."""
    run = await add_planned([0, 0, 0])
    await runs.finish()
    assert await _statuses(pool) == ("running", "running")
    await pool.execute(
        "INSERT INTO publishing_run_shards (run_id, shard, candidates, planned) VALUES ($1, 3, 0, 0)", run
    )
    await runs.finish()
    assert await _statuses(pool) == ("done", "done")


@pytest.mark.parametrize("state", sorted(set(State) - TERMINAL - {State.PLANNED}))
async def test_an_unsettled_delivery_holds_the_run(
    pool: asyncpg.Pool, runs: Runs, add_planned: Add, state: str
) -> None:
    """A delivery that may still be sent, or is in doubt, keeps its run running."""
    await add_planned([1, 0, 0, 0], (state,))
    await runs.finish()
    assert await _statuses(pool) == ("running", "running")


async def test_a_delivery_that_nobody_claimed_holds_the_run(pool: asyncpg.Pool, runs: Runs, add_planned: Add) -> None:
    """Two planned and one settled is not the end."""
    await add_planned([2, 0, 0, 0], ("accepted",))
    await runs.finish()
    assert await _statuses(pool) == ("running", "running")


async def test_a_plan_that_is_not_emitted_holds_the_run(
    pool: asyncpg.Pool, runs: Runs, add_planned: Add, add_channel: Add
) -> None:
    """While a frame of the plan waits to be produced the run goes on."""
    run = await add_planned([0, 0, 0, 0])
    await pool.execute(
        "INSERT INTO publishing_plans (run_id, shard, chunk, channel_id, topic, partition, destinations, frame)"
        " VALUES ($1, 0, 0, $2, 't', 0, '{}', '')",
        run,
        await add_channel("email"),
    )
    await runs.finish()
    assert await _statuses(pool) == ("running", "running")


async def test_a_publication_ends_with_its_last_run(
    pool: asyncpg.Pool, runs: Runs, add_planned: Add, add_run: Add
) -> None:
    """While another run of the publication goes on it stays running."""
    first = await add_planned([0, 0, 0, 0])
    publication = await pool.fetchval("SELECT publication_id FROM publishing_runs WHERE id = $1", first)
    await add_run(publication, due_at=NOW + dt.timedelta(days=1))
    await runs.finish()
    assert await _statuses(pool) == ("done", "running")


async def test_many_running_runs_are_looked_at_in_turn(pool: asyncpg.Pool, runs: Runs, add_planned: Add) -> None:
    """A pass looks at 50 runs; the next goes on behind them, then starts again."""
    for _ in range(51):
        await add_planned([0, 0, 0, 0])
    assert await runs.finish() is True
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs WHERE status = 'done'") == 50
    assert await runs.finish() is False
    assert await pool.fetchval("SELECT count(*) FROM publishing_runs WHERE status = 'done'") == 51
