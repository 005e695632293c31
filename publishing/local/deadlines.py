"""Owns bounded waiting: a point in monotonic time after which nothing is waited for."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment of the monotonic clock, in seconds."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """The moment that many seconds from now."""
        return cls(time.monotonic() + seconds)

    def is_over(self) -> bool:
        """Whether the moment has passed."""
        return time.monotonic() >= self.at_s

    def pause(self, seconds: float) -> None:
        """Sleep for at most `seconds`, never past the moment."""
        time.sleep(max(0.0, min(seconds, self.at_s - time.monotonic())))
