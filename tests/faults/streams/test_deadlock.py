"""R9: the database ends a batch as the victim of a deadlock; it is applied whole again, and exactly."""

import asyncio
from collections.abc import Callable

import asyncpg
import pytest

from publishing.domain.windows import MINUTE_MS, NO_WATERMARK, Frame, fold
from publishing.stores import engagement as store
from publishing.stores.engagement import Advance, apply_partitions
from publishing.stores.offsets import Place, Pool
from schemas.frames import new_events
from tests.fakes.streams_worker import eventually
from tests.faults.streams.conftest import Stage
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.faults

CELLS = 1_500
ROUNDS = 12
NOON_MS = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 12 * 3_600_000
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
TOUCH = "UPDATE publishing_analytics SET total = total WHERE grain = $1"


async def test_the_victim_of_a_deadlock_is_applied_again(stage: Stage) -> None:
    """A rival takes the worker's windows in the opposite order: the worker loses, tries again, and nothing is off."""
    await stage.produce_frames(2)
    async with stage.worker() as worker:
        await stage.drained()
        rival = await asyncpg.connect(stage.settings.database)
        turn = rival.transaction()
        await turn.start()
        await rival.execute(TOUCH, "minute")
        await stage.produce_frames(10)

        async def is_waiting() -> bool:
            return bool(await stage.pool.fetchval(WAITING))

        await eventually(is_waiting, what="the worker waits for the rival's rows")
        # Windows are written day, hour, minute: the worker already holds days.
        await rival.execute(TOUCH, "day")
        line = await worker.wrote("DeadlockDetectedError")
        assert "batch." in line
        await turn.commit()
        await rival.close()
        await stage.drained()
    assert await stage.windows() == await stage.recount()


def batch_of(number: int) -> Frame:
    """A frame with an event in each of many windows."""
    events = new_events(CELLS)
    events["occurred_at"] = NOON_MS + MINUTE_MS * (number % 2)
    events["kind"], events["run_id"] = 4, range(CELLS)
    return Frame(events, NOON_MS, NOON_MS)


async def flushed(pool: Pool, rounds: int, *, mutate: Callable[[int], None]) -> int:
    """Two flushers write the same windows side by side, trying again until they are through; the deadlocks."""
    deadlocks = 0

    async def flusher(partition: int) -> None:
        nonlocal deadlocks
        for step in range(rounds):
            advance = Advance("engagement", Place(ENGAGEMENT_RECORDED.name, partition), step, step + 1)
            folded = fold([batch_of(step)], NO_WATERMARK)
            while True:
                mutate(partition)
                try:
                    assert (await apply_partitions(pool, [advance], folded)).is_held
                    break
                except asyncpg.DeadlockDetectedError:
                    deadlocks += 1

    await asyncio.gather(flusher(0), flusher(1))
    counted = await pool.fetchval("SELECT sum(total) FROM publishing_analytics WHERE grain = 'day'")
    assert counted == 2 * rounds * CELLS
    return deadlocks


async def test_two_flushers_of_the_same_windows_never_lock_each_other_up(pool: Pool) -> None:
    """Keys are written in one order, whoever writes: no deadlock at all in many rounds over the same 4,500 rows."""
    assert await flushed(pool, ROUNDS, mutate=lambda _: None) == 0


# On a busy machine two flushers may take turns and never meet.
@pytest.mark.long
async def test_the_mutant_with_opposite_orders_deadlocks(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where one flusher writes backwards they do lock each other up; what is retried whole is exact even then."""
    forward = store.SQL.windows
    order = "ORDER BY grain, window_ms, publication_id, run_id"
    assert order in forward
    backward = forward.replace(order, "ORDER BY grain DESC, window_ms DESC, publication_id DESC, run_id DESC")
    monkeypatch.setattr(store.SQL, "windows", forward)

    def mutate(partition: int) -> None:
        monkeypatch.setattr(store.SQL, "windows", backward if partition else forward)

    assert await flushed(pool, ROUNDS, mutate=mutate) > 0
