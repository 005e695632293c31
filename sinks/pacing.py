"""The pace of one channel: a fixed rate with a burst, halved by every throttle and slowly regained."""

from dataclasses import dataclass

# The rate never falls below a 64th of what is configured, and is whole again after 100 acceptances at most.
LEAST_SHARE = 1 / 64
REGAINED_SHARE = 0.01


@dataclass(slots=True)
class Pacer:
    """A virtual scheduler (GCRA, ITU-T I.371): `now_s` is a monotonic clock's, `per_second` and `burst` messages.

    At 2 a second with a burst of 1, three reservations of one message at once wait 0, 0.5 and 1 s.
    """

    per_second: float
    burst: int
    # The part of the rate that is this worker's, where several work for one channel.
    portion: float = 1.0
    share: float = 1.0
    due_s: float = 0.0
    blocked_until_s: float = 0.0

    @property
    def rate(self) -> float:
        """Messages per second at present."""
        return self.per_second * self.portion * self.share

    @property
    def group(self) -> int:
        """How many messages may be sent together: about a second's worth, at most a burst."""
        return max(1, min(self.burst, int(self.rate)))

    def reserve(self, messages: int, *, now_s: float) -> float:
        """Take places for a group of messages, at most a burst; the seconds to wait before sending them."""
        interval_s = 1.0 / self.rate
        self.due_s = max(self.due_s, now_s) + interval_s * messages
        return max(self.due_s - interval_s * self.burst, self.blocked_until_s, now_s) - now_s

    def throttle(self, *, now_s: float, after_s: float | None) -> None:
        """The provider asked for less, or for a pause of `after_s`."""
        self.share = max(self.share / 2, LEAST_SHARE)
        if after_s is not None:
            self.blocked_until_s = max(self.blocked_until_s, now_s + after_s)

    def accept(self) -> None:
        """The provider took a message: regain a little of the rate."""
        self.share = min(self.share + REGAINED_SHARE, 1.0)
