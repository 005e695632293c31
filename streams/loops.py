"""Owns a background loop of a process: it repeats one step for ever, and no error of the step ends it."""

import asyncio
import dataclasses
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from publishing.domain.retries import backoff_s
from publishing.runtime.logs import get_logger
from publishing.runtime.metrics import LOOP_FAILURES

STEP_TIMEOUT_S = 30.0

Opened = TypeVar("Opened")

log = get_logger(__name__)
# Only spreads processes over time: no decision depends on it.
_JITTER = random.SystemRandom()


@dataclasses.dataclass(frozen=True, slots=True)
class Loop:
    """A step, repeated at once while it returns True (more work waits) and after pause_s seconds otherwise."""

    name: str
    step: Callable[[], Awaitable[bool | None]]
    pause_s: float


async def _pause(stopping: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopping.wait()
    except TimeoutError:
        return


def _failed(name: str, error: Exception) -> None:
    LOOP_FAILURES.labels(name).inc()
    log.warning("loop.failed", loop=name, error=type(error).__name__, reason=str(error)[:200])


async def _passed(loop: Loop) -> float | None:
    """Seconds until the next pass, or None where this one failed."""
    try:
        async with asyncio.timeout(STEP_TIMEOUT_S):
            return 0.0 if await loop.step() else loop.pause_s
    except Exception as error:  # noqa: BLE001  - whatever went wrong, the loop goes on: that is its purpose
        _failed(loop.name, error)
        return None


async def repeat(loop: Loop, stopping: asyncio.Event, turns: asyncio.Lock) -> None:
    """Run the loop until stopping is set; a step that fails, or lasts 30 s, is counted and tried again.

    Loops that fail take turns, with a wait of at most 2 s before each try: however many loops a process has, a
    database that is away sees about one try a second.
    """
    failures = 0
    while not stopping.is_set():
        if failures:
            async with turns:
                await _pause(stopping, backoff_s(failures, _JITTER.random()))
                pause_s = None if stopping.is_set() else await _passed(loop)
        else:
            pause_s = await _passed(loop)
        failures = failures + 1 if pause_s is None else 0
        if pause_s is not None:
            await _pause(stopping, pause_s)


async def opened(name: str, opening: Callable[[], Awaitable[Opened]], stopping: asyncio.Event) -> Opened | None:
    """Open a resource, again within 2 s while it cannot be reached (OSError, timeouts); None once stopping is set."""
    failures = 0
    while not stopping.is_set():
        try:
            return await opening()
        except (OSError, TimeoutError) as error:
            failures += 1
            _failed(name, error)
            await _pause(stopping, backoff_s(failures, _JITTER.random()))
    return None
