"""R1 by the operator's own check: after kills around the commit `replay engagement --check` finds nothing."""

import signal

import pytest

from publishing.cli.replaying.recounting import check, rebuild
from tests.faults.streams.conftest import Stage

pytestmark = pytest.mark.faults


async def killed_at(stage: Stage, point: str, *mutation: str) -> None:
    """Start a worker that dies at a failpoint, and prove that it did."""
    async with stage.worker("small_batches", *mutation, failpoints=f"{point}:2:KILL") as worker:
        assert await worker.exited() == -signal.SIGKILL
        assert f"HIT {point}" in worker.lines


async def test_the_check_is_equal_after_kills(stage: Stage) -> None:
    """Between two kills and after the last one the recount up to the applied offsets equals the tables."""
    await stage.produce_frames(60)
    for point in ("engagement.before_commit", "engagement.after_commit"):
        await killed_at(stage, point)
        between = await check(stage.settings, stage.pool)
        assert between.is_equal, between.differences
    assert 0 < sum(between.partitions.values()) < stage.produced
    async with stage.worker():
        await stage.drained()
    last = await check(stage.settings, stage.pool)
    assert last.is_equal, last.differences
    assert sum(last.partitions.values()) == stage.produced


async def test_the_check_finds_what_the_mutant_counts_twice_and_the_rebuild_repairs_it(stage: Stage) -> None:
    """A worker whose effects and offset are two commits leaves cells that differ: the check has teeth."""
    await stage.produce_frames(15)
    await killed_at(stage, "mutant.between", "upsert_then_commit")
    async with stage.worker("upsert_then_commit"):
        await stage.drained()
    found = await check(stage.settings, stage.pool)
    assert found.different > 0
    assert (await rebuild(stage.settings, stage.pool)).different == found.different
    assert (await check(stage.settings, stage.pool)).is_equal
