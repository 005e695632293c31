"""Owns how long to wait before trying again: exponential tiers with full jitter."""

# https://aws.amazon.com/builders-library/timeouts-retries-and-backoff-with-jitter/
BASE_S = 0.05
CAP_S = 2.0
# 2 ** 32 * BASE_S is above every cap that is of use; it keeps the power small however long an outage lasts.
MAX_DOUBLINGS = 32


def backoff_s(failures: int, draw: float, *, base_s: float = BASE_S, cap_s: float = CAP_S) -> float:
    """Seconds to wait after the given number of failures in a row (from 1); draw is uniform in [0, 1).

    The tier doubles with each failure up to the cap, and the wait is drawn from the whole of it:
    the third failure with draw 0.5 waits 0.5 * min(2, 0.05 * 2 ** 2) = 0.1 s.
    """
    tier_s = min(cap_s, base_s * 2.0 ** min(max(failures, 1) - 1, MAX_DOUBLINGS))
    return draw * tier_s
