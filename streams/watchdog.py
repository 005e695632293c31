"""What ends a worker that Faust has left hanging, and what keeps its logs bounded; states with time as an argument."""

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass

# Longer than any recovery of the app's small table (88 s for 20,000 keys in 16 partitions, measured).
REBALANCE_LIMIT_S = 120.0
LOOK_EVERY_S = 1.0
# A broker that is away makes aiokafka write some 7,000 lines a second.
LOG_LINES_PER_S = 5.0
LOG_BURST_LINES = 20


@dataclass(slots=True)
class RebalanceWatch:
    """Expired once a rebalance has lasted longer than the limit without a pause.

    Faust's recovery task can end silently when a step outlasts its request timeout: the worker then stays in the group
    and consumes nothing.
    """

    limit_s: float = REBALANCE_LIMIT_S
    _since_s: float | None = None

    def observe(self, *, is_rebalancing: bool, now_s: float) -> bool:
        """Look once; True when the process has to be killed."""
        if not is_rebalancing:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s > self.limit_s


class Watchdog(threading.Thread):
    """A thread beside the event loop, so that a stuck loop cannot silence it."""

    def __init__(
        self, is_rebalancing: Callable[[], bool], kill: Callable[[str], object], now_s: Callable[[], float]
    ) -> None:
        super().__init__(name="watchdog", daemon=True)
        self._is_rebalancing = is_rebalancing
        self._kill = kill
        self._now_s = now_s
        self._stopped = threading.Event()
        self.watch = RebalanceWatch()

    def run(self) -> None:
        """Look every second until stopped."""
        while not self._stopped.wait(LOOK_EVERY_S):
            if self.watch.observe(is_rebalancing=self._is_rebalancing(), now_s=self._now_s()):
                self._kill("a rebalance outlasted its limit")
                return

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()


class LineBudget(logging.Filter):
    """A token bucket on a logger: a burst of lines, then a few a second; what is dropped is not counted as an error."""

    def __init__(
        self, now_s: Callable[[], float], *, per_s: float = LOG_LINES_PER_S, burst: int = LOG_BURST_LINES
    ) -> None:
        super().__init__()
        self._now_s = now_s
        self._per_s = per_s
        self._burst = float(burst)
        self._tokens = float(burst)
        self._at_s = now_s()

    def filter(self, _: logging.LogRecord) -> bool:
        """Whether the line may be written."""
        now_s = self._now_s()
        self._tokens = min(self._burst, self._tokens + (now_s - self._at_s) * self._per_s)
        self._at_s = now_s
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
