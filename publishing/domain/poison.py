"""When too much of a stream is poison: a bad deploy has to stop, not to bury everything."""

from collections import deque
from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class PoisonLimit:
    """Exceeded when more than `ratio` of the last records are poison, and at least `least` of them are.

    The last records are at most `window_records`, and none is older than `window_s` seconds. With 200, 600 s, 100 and
    0.5: 180 records of which 95 are poison are below (95 < 100), 200 of which 101 are exceed it (0.505 > 0.5).
    """

    window_records: int
    window_s: float
    least: int
    ratio: float
    _seen: deque[tuple[float, bool]] = field(default_factory=deque)
    _poison: int = 0

    def note(self, *, is_poison: bool, now_s: float) -> None:
        """Count one record at a time of a monotonic clock, in seconds."""
        self._seen.append((now_s, is_poison))
        self._poison += is_poison
        while len(self._seen) > self.window_records or self._seen[0][0] < now_s - self.window_s:
            self._poison -= self._seen.popleft()[1]

    def note_good(self, records: int, *, now_s: float) -> None:
        """Count good records; more of them than the window holds are as many as it holds."""
        for _ in range(min(records, self.window_records)):
            self.note(is_poison=False, now_s=now_s)

    @property
    def is_exceeded(self) -> bool:
        """Whether the worker has to stop."""
        return self._poison >= self.least and self._poison > self.ratio * len(self._seen)
