"""The one home of the current time; everything else takes time as an argument."""

import time
from datetime import UTC, datetime


def utc_now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)


def now_ms() -> int:
    """The current time in milliseconds since 1970-01-01 UTC."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds of a clock that never goes back; only differences mean anything."""
    return time.monotonic()
