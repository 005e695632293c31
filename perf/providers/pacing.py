"""How many messages a second a simulated provider takes for one key."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class Pacer:
    """A token bucket for each key: `per_second` tokens a second, at most `burst` saved; 0 per second = no limit."""

    per_second: float
    burst: float = 1.0
    _tokens: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def is_limiting(self) -> bool:
        """Whether there is a limit at all."""
        return self.per_second > 0

    def take(self, key: str, wanted: int, *, now_s: float) -> int:
        """Return how many of `wanted` tokens were taken (0 to `wanted`); `now_s` is monotonic seconds."""
        if not self.is_limiting:
            return wanted
        tokens = self._level(key, now_s)
        taken = min(wanted, int(tokens))
        self._tokens[key] = (tokens - taken, now_s)
        return taken

    def wait_s(self, key: str, *, now_s: float) -> float:
        """Return the seconds until one token is there."""
        if not self.is_limiting:
            return 0.0
        return max(1.0 - self._level(key, now_s), 0.0) / self.per_second

    def remaining(self, key: str, *, now_s: float) -> int:
        """Return the whole tokens left for the key."""
        return int(self._level(key, now_s))

    def _level(self, key: str, now_s: float) -> float:
        tokens, at = self._tokens.get(key, (self.burst, now_s))
        return min(tokens + max(now_s - at, 0.0) * self.per_second, self.burst)
