"""R14: workers join and leave every two seconds for a minute; the count stays exact and goes on."""

import asyncio
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from publishing.runtime.clock import monotonic_s
from tests.fakes.streams_worker import eventually
from tests.faults.streams.conftest import Stage

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]

CALM_S = 10.0
STORM_S = 60.0
STAY_S = 2.0
# A group that changes all the time may not get to assign: who waits longer leaves, which is a change too.
LONGEST_JOIN_S = 25.0
# Each new member that leaves holds the group up for its session of 10 s.
LEAST_JOINED = 2
# Some 600 frames a second over four partitions.
FRAMES_AT_ONCE, FEED_PAUSE_S = 20, 0.1
LEAST_PROGRESS = 0.2


@asynccontextmanager
async def fed(stage: Stage) -> AsyncIterator[None]:
    """Append frames to every partition, as many each moment: a load that leaves room for starting processes."""

    async def feed() -> None:
        while True:
            await stage.produce_frames(FRAMES_AT_ONCE)
            await asyncio.sleep(FEED_PAUSE_S)

    feeding = asyncio.create_task(feed())
    try:
        yield
    finally:
        feeding.cancel()
        with suppress(asyncio.CancelledError):
            await feeding


async def rate(stage: Stage, seconds: float) -> float:
    """Frames a second that the stored offsets advance by, over so many seconds."""
    before, started_s = await stage.offsets(), monotonic_s()
    await asyncio.sleep(seconds)
    return (await stage.offsets() - before) / (monotonic_s() - started_s)


async def storm(stage: Stage) -> int:
    """Have workers come and go for a minute, each two seconds after its first assignment; returns how many took part.

    One lane is the same member each time, as a process that crashes and is started again; the other is a new member
    each time, as replicas that are added and taken away: partitions wait for the session of who has left to end.
    """
    ends_s = monotonic_s() + STORM_S

    async def come_and_go(*, is_new: bool) -> int:
        joined = number = 0
        while monotonic_s() < ends_s:
            number += is_new
            async with stage.worker(instance=f"joiner-{number}") as worker:
                with suppress(TimeoutError):
                    async with asyncio.timeout(LONGEST_JOIN_S):
                        await worker.wrote("partitions.sought")
                        joined += 1
                        await asyncio.sleep(STAY_S)
                worker.send(signal.SIGTERM)
                await worker.exited()
        return joined

    return sum(await asyncio.gather(come_and_go(is_new=False), come_and_go(is_new=True)))


async def test_a_storm_of_rebalances_stays_exact_and_moves(stage: Stage, figure: Callable[[str], None]) -> None:
    """The windows equal a recount of the log, and the frames applied are at least a fifth of the calm rate."""
    async with stage.worker(instance="anchor") as anchor:
        async with fed(stage):
            await anchor.wrote("partitions.sought")
            await rate(stage, 2)
            calm = await rate(stage, CALM_S)
            before, started_s = await stage.offsets(), monotonic_s()
            joined = await storm(stage)
            stormy = (await stage.offsets() - before) / (monotonic_s() - started_s)
        sought = sum("partitions.sought" in line for line in anchor.lines)
        assert joined >= LEAST_JOINED
        assert sought >= LEAST_JOINED, "the storm did not reach the worker that stays"
        await stage.drained()
    figure(f"calm {calm:.0f} frames/s, storm {stormy:.0f}; {joined} workers came and went")
    assert stormy >= LEAST_PROGRESS * calm
    assert await stage.windows() == await stage.recount()


async def test_the_mutant_that_commits_now_and_then_counts_twice(stage: Stage) -> None:
    """Where offsets are not in the statement, and not committed as partitions go, who joins applies them again."""
    await stage.produce_frames(40)
    truth = sum(row[0] for row in (await stage.recount()).values())

    async def total() -> int:
        return sum(row[0] for row in (await stage.windows()).values())

    async def is_counted() -> bool:
        return await total() >= truth

    async def is_counted_twice() -> bool:
        return await total() > truth

    async with stage.worker("small_batches", "commit_now_and_then", instance="anchor"):
        await eventually(is_counted, what="everything is counted once")
        assert not await is_counted_twice()
        async with stage.worker("small_batches", "commit_now_and_then", instance="joiner"):
            await eventually(is_counted_twice, what="something is counted twice")
