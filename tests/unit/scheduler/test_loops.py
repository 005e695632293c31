"""A background loop repeats its step whatever happens."""

import asyncio
import time

import pytest

from publishing.runtime.metrics import LOOP_FAILURES
from streams.loops import Loop, opened, repeat

pytestmark = pytest.mark.unit


async def test_a_failing_step_is_counted_and_tried_again() -> None:
    """An error of a step never ends the loop."""
    stopping = asyncio.Event()
    passes = 0

    async def step() -> bool:
        nonlocal passes
        passes += 1
        if passes < 4:
            raise ConnectionError
        stopping.set()
        return False

    before = LOOP_FAILURES.labels("unit_failing")._value.get()
    async with asyncio.timeout(10):
        await repeat(Loop("unit_failing", step, 60.0), stopping, asyncio.Lock())
    assert passes == 4
    assert LOOP_FAILURES.labels("unit_failing")._value.get() - before == 3


async def test_a_step_with_more_work_is_repeated_at_once() -> None:
    """True means more work: the pause is left out."""
    stopping = asyncio.Event()
    passes = 0

    async def step() -> bool:
        nonlocal passes
        passes += 1
        if passes == 100:
            stopping.set()
        return True

    async with asyncio.timeout(5):
        await repeat(Loop("unit_busy", step, 60.0), stopping, asyncio.Lock())
    assert passes == 100


async def test_a_step_that_says_nothing_pauses_and_ends_when_cancelled() -> None:
    """None is no more work: the step waits for its pause, and a framework that cancels the loop ends it."""
    passes = 0

    async def step() -> None:
        nonlocal passes
        passes += 1

    looping = asyncio.create_task(repeat(Loop("unit_silent", step, 3600.0), asyncio.Event(), asyncio.Lock()))
    await asyncio.sleep(0.05)
    looping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await looping
    assert passes == 1


async def test_failing_loops_take_turns() -> None:
    """Loops that fail together try one after the other: a server that is away is not stormed."""
    stopping, turns = asyncio.Event(), asyncio.Lock()
    inside = 0
    most = 0
    tries = 0

    async def step() -> bool:
        nonlocal inside, most, tries
        tries += 1
        inside += 1
        # Each loop's first try is its own; from then on it has failed and must wait for its turn.
        most = max(most, inside if tries > 8 else 0)
        await asyncio.sleep(0)
        inside -= 1
        if tries >= 24:
            stopping.set()
        raise ConnectionError

    async with asyncio.timeout(30):
        await asyncio.gather(*(repeat(Loop(f"unit_turn_{n}", step, 60.0), stopping, turns) for n in range(8)))
    assert most == 1


async def test_stopping_ends_a_pause() -> None:
    """A loop that pauses for an hour leaves at once."""
    stopping = asyncio.Event()

    async def step() -> bool:
        asyncio.get_running_loop().call_later(0.01, stopping.set)
        return False

    began = time.monotonic()
    await repeat(Loop("unit_pause", step, 3600.0), stopping, asyncio.Lock())
    assert time.monotonic() - began < 5


async def test_opening_is_tried_until_it_passes() -> None:
    """A server that is away at the start is waited for; other errors are the operator's."""
    tries = 0

    async def opening() -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise ConnectionRefusedError
        return "open"

    async with asyncio.timeout(10):
        assert await opened("unit_open", opening, asyncio.Event()) == "open"

    async def wrong() -> str:
        raise LookupError

    with pytest.raises(LookupError):
        await opened("unit_open", wrong, asyncio.Event())


async def test_opening_ends_when_stopping() -> None:
    """A process that is told to stop while it waits for a server leaves with nothing."""
    stopping = asyncio.Event()

    async def opening() -> str:
        stopping.set()
        raise ConnectionRefusedError

    assert await opened("unit_open", opening, stopping) is None
