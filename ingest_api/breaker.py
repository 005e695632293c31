"""Owns whether the broker is asked at all: a pure state machine over the time that it is given."""

from enum import StrEnum

FIRST_PAUSE_S = 0.25
LONGEST_PAUSE_S = 5.0


class BreakerState(StrEnum):
    """Closed: frames pass. Open: none does. Half open: one is on its way, and decides."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Breaker:
    """Opens on a failure, lets one frame try after a pause that doubles up to 5 s, closes on a success."""

    def __init__(self) -> None:
        """Start closed."""
        self.state = BreakerState.CLOSED
        self._pause_s = FIRST_PAUSE_S
        self._until_s = 0.0

    def admits(self, now_s: float) -> bool:
        """Whether a frame may go now; the one that is let through an open breaker makes it half open."""
        if self.state is BreakerState.OPEN and now_s >= self._until_s:
            self.state = BreakerState.HALF_OPEN
            return True
        return self.state is BreakerState.CLOSED

    def failed(self, now_s: float) -> None:
        """Open for the next pause; a failure of what was sent before it opened prolongs nothing."""
        if self.state is BreakerState.OPEN:
            return
        if self.state is BreakerState.HALF_OPEN:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
        self.state = BreakerState.OPEN
        self._until_s = now_s + self._pause_s

    def succeeded(self) -> None:
        """Close: the broker has answered."""
        self.state = BreakerState.CLOSED
        self._pause_s = FIRST_PAUSE_S
