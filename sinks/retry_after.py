"""How long a provider asks us to wait, in each of the ways that providers say it."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

# Nobody is obeyed for longer than this: a mistake of the provider's must not stop a channel for years.
CAP_S = 3_600.0
_MS = 1_000.0


def capped(delta: float) -> float:
    """A wait in [0, 3600] s; a number above the cap that makes sense as milliseconds is read as such.

    30 is 30 s; 30000 is 30 s too; ten years are 3,600 s.
    """
    if delta != delta or delta < 0:  # noqa: PLR0124  - NaN is the only number that differs from itself
        return 0.0
    if delta > CAP_S and delta / _MS <= CAP_S:
        return delta / _MS
    return min(delta, CAP_S)


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """The seconds of a Retry-After header, a number or an HTTP date (RFC 9110 section 10.2.3); None without sense."""
    if value is None:
        return None
    try:
        return capped(float(value))
    except ValueError:
        pass
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError, OverflowError):
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return min(max((aware - now).total_seconds(), 0.0), CAP_S)


def body_retry_after(body: Any) -> float | None:
    """The seconds of `retry_after` in a JSON answer (Discord); milliseconds have been seen there too."""
    value = body.get("retry_after") if isinstance(body, Mapping) else None
    return capped(float(value)) if isinstance(value, int | float) and not isinstance(value, bool) else None
