"""When too much of a stream is poison: a bad deploy has to stop, not to bury everything."""

from collections import deque
from dataclasses import dataclass, field

WINDOW_RECORDS = 200
WINDOW_S = 600.0
LEAST_POISON = 100
RATIO = 0.5


@dataclass(slots=True)
class PoisonLimit:
    """Exceeded when more than half of the last 200 records of 10 minutes are poison, and at least 100 are.

    180 records of which 95 are poison: below (95 < 100). 200 of which 101 are: exceeded (0.505 > 0.5).
    """

    window_records: int = WINDOW_RECORDS
    window_s: float = WINDOW_S
    least: int = LEAST_POISON
    ratio: float = RATIO
    _seen: deque[tuple[float, bool]] = field(default_factory=deque)
    _poison: int = 0

    def note(self, *, is_poison: bool, now_s: float) -> None:
        """Count one record at a time of a monotonic clock, in seconds."""
        self._seen.append((now_s, is_poison))
        self._poison += is_poison
        while len(self._seen) > self.window_records or self._seen[0][0] < now_s - self.window_s:
            self._poison -= self._seen.popleft()[1]

    @property
    def is_exceeded(self) -> bool:
        """Whether the worker has to stop."""
        return self._poison >= self.least and self._poison > self.ratio * len(self._seen)
