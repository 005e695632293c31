"""Fault injection by name: what a kill test uses to die at an exact line; off unless the setting names a point."""

import os
import signal
import sys
from collections import Counter
from enum import StrEnum


class Action(StrEnum):
    """What a failpoint does to its own process."""

    KILL = "KILL"
    STOP = "STOP"
    RAISE = "RAISE"


class FailpointError(Exception):
    """A failpoint raised: a test asked for it."""


_armed: dict[str, tuple[int, Action]] = {}
_passed: Counter[str] = Counter()


def arm(specification: str) -> None:
    """Arm `name:nth:KILL|STOP|RAISE[,...]`; the nth pass (from 1) acts. Raises ValueError on any other form."""
    _armed.clear()
    _passed.clear()
    for part in filter(None, specification.split(",")):
        name, nth, action = part.split(":")
        _armed[name] = (int(nth), Action(action))


def failpoint(name: str) -> None:
    """Act when this pass is the armed one; prints `HIT name` on standard error first, as proof."""
    if name not in _armed:
        return
    _passed[name] += 1
    nth, action = _armed[name]
    if _passed[name] != nth:
        return
    sys.stderr.write(f"HIT {name}\n")
    sys.stderr.flush()
    if action is Action.RAISE:
        raise FailpointError(name)
    os.kill(os.getpid(), signal.SIGKILL if action is Action.KILL else signal.SIGSTOP)
