"""R2: a worker freezes before its write, a successor takes its partitions, and the zombie wakes up."""

import signal

import pytest

from tests.fakes.streams_worker import StreamWorker, eventually
from tests.faults.streams.conftest import Stage

pytestmark = pytest.mark.faults

FREEZE = "engagement.before_commit:3:STOP"


async def frozen(worker: StreamWorker) -> None:
    """Wait until the worker stands before its write, and prove it."""
    await worker.wrote("HIT engagement.before_commit")
    await worker.frozen()


async def test_a_zombies_write_is_fenced_and_it_rejoins(stage: Stage) -> None:
    """The successor counts everything; the zombie's statement changes nothing, and afterwards it works again."""
    await stage.produce_frames(30)
    async with stage.worker("small_batches", instance="first", failpoints=FREEZE) as zombie:
        await frozen(zombie)
        async with stage.worker(instance="second"):
            await outlived(stage, zombie)
    assert await stage.windows() == await stage.recount()


async def outlived(stage: Stage, zombie: StreamWorker) -> None:
    """Let the successor take everything, wake the zombie, and see it fenced, back in the group and working."""
    await stage.drained()
    sought = sum("partitions.sought" in line for line in zombie.lines)
    zombie.send(signal.SIGCONT)
    await zombie.wrote("fence.lost")
    await zombie.wrote("partitions.sought", times=sought + 1)
    await stage.produce_frames(5)
    await stage.drained()


async def test_the_mutant_without_the_comparison_counts_twice(stage: Stage) -> None:
    """Without `WHERE next_offset =` the zombie's write is taken: the recount has teeth."""
    await stage.produce_frames(15)
    async with stage.worker("small_batches", "drop_the_comparison", instance="first", failpoints=FREEZE) as zombie:
        await frozen(zombie)
        # The same member restarted elsewhere: it takes over at once, without waiting for the session to end.
        async with stage.worker("drop_the_comparison", instance="first"):
            await stage.drained()
        before = await stage.windows()
        assert before == await stage.recount()
        zombie.send(signal.SIGCONT)

        async def has_changed() -> bool:
            return await stage.windows() != before

        await eventually(has_changed, what="the zombie's write is taken")
    windows, truth = await stage.windows(), await stage.recount()
    assert sum(row[0] for row in windows.values()) > sum(row[0] for row in truth.values())
