"""R1: a stream worker is killed after its poll and around its commit; nothing is lost or counted twice."""

import signal

import pytest

from tests.faults.streams.conftest import Stage

pytestmark = pytest.mark.faults


async def killed_at(stage: Stage, point: str, *mutation: str, nth: int = 2) -> None:
    """Start a worker that dies at a failpoint, and prove that it did."""
    async with stage.worker("small_batches", *mutation, failpoints=f"{point}:{nth}:KILL") as worker:
        assert await worker.exited() == -signal.SIGKILL
        assert f"HIT {point}" in worker.lines


async def test_killed_workers_leave_an_exact_recount(stage: Stage) -> None:
    """After kills at every point around the commit the windows equal a recount of the log, and the lag is gone."""
    await stage.produce_frames(60)
    for point in ("engagement.after_poll", "engagement.before_commit", "engagement.after_commit"):
        await killed_at(stage, point)
    assert 0 < await stage.offsets() < stage.produced
    async with stage.worker() as worker:
        await stage.drained()
        worker.send(signal.SIGTERM)
        assert await worker.exited() == 0
    assert await stage.windows() == await stage.recount()


async def test_the_mutant_that_commits_after_its_effects_counts_twice(stage: Stage) -> None:
    """Without the offset in the statement a kill between the two is seen in the windows: the recount has teeth."""
    await stage.produce_frames(15)
    await killed_at(stage, "mutant.between", "upsert_then_commit")
    async with stage.worker("upsert_then_commit"):
        await stage.drained()
    windows, truth = await stage.windows(), await stage.recount()
    assert windows.keys() == truth.keys()
    assert sum(row[0] for row in windows.values()) > sum(row[0] for row in truth.values())
