"""Owns rates and their uncertainty: shares of what was reached, with 95 % confidence intervals."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from statistics import NormalDist
from typing import Any

CONFIDENCE = 0.95
# 1.96: the standard deviations that hold 95 % of a normal distribution.
Z_95 = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
# Readers' kinds are counted by first touches of humans; what providers say is counted as it came.
HUMAN_KINDS = frozenset({"opened", "clicked", "unsubscribed"})


@dataclasses.dataclass(frozen=True, slots=True)
class Rate:
    """A share: `count` of `of`, as a ratio with its 95 % interval.

    Without anything to count from (`of` 0) all three are None. The interval alone is None where more happened in a
    period than was sent in it: opens of what was sent before are no share of it.
    """

    count: int
    of: int
    ratio: float | None
    low: float | None
    high: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What happened to a number of messages.

    `reached` is what was delivered on channels whose provider says so, and what was accepted on the others; opened,
    clicked and unsubscribed are first touches of humans; complained is first touches of anyone; the rest is totals.
    """

    accepted: int = 0
    reached: int = 0
    opened: int = 0
    clicked: int = 0
    unsubscribed: int = 0
    bounced: int = 0
    complained: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(**{name: getattr(self, name) + getattr(other, name) for name in NAMES})


NAMES = tuple(field.name for field in dataclasses.fields(Counts))


def wilson(count: int, of: int, z: float = Z_95) -> tuple[float, float]:
    """The score interval of a share: 10 of 100 lies in [0.0552, 0.1744]; raises ValueError unless 0 <= count <= of.

    Unlike the normal approximation it stays inside [0, 1] and is usable at 0 and for small numbers.
    Source: E. B. Wilson, JASA 22 (1927), 209-212; recommended for n <= 40 and sound above by L. D. Brown, T. T. Cai and
    A. DasGupta, Statistical Science 16 (2001), 101-133.
    """
    if not 0 <= count <= of or of == 0:
        raise ValueError("a share counts some of a number above 0")
    ratio, square = count / of, z * z
    middle = (ratio + square / (2 * of)) / (1 + square / of)
    half = z / (1 + square / of) * math.sqrt(ratio * (1 - ratio) / of + square / (4 * of * of))
    # Rounding must not push the ends of 0 of n and n of n off the ratio itself.
    return min(ratio, max(0.0, middle - half)), max(ratio, min(1.0, middle + half))


def rate(count: int, of: int, z: float = Z_95) -> Rate:
    """A rate with its interval, as far as the numbers allow one."""
    if of <= 0:
        return Rate(count, of, None, None, None)
    if count > of:
        return Rate(count, of, count / of, None, None)
    return Rate(count, of, count / of, *wilson(count, of, z))


def is_above(one: Rate, other: Rate) -> bool:
    """Whether the whole interval of the one lies above the other's: stricter than a test of their difference."""
    return one.low is not None and other.high is not None and one.low > other.high


def engagement_rates(counts: Counts) -> dict[str, Rate]:
    """The rates of a period: open, click and unsubscribe of what was reached, click_to_open of those who opened.

    Bounces are a share of what the provider accepted, as Amazon SES reckons them; complaints of what was reached.
    Worked: 1,000 accepted, 980 delivered, 294 opened, 49 clicked: open 0.30, click 0.05, click_to_open 0.1667.
    Source: https://docs.aws.amazon.com/ses/latest/dg/monitor-sender-reputation.html
    """
    return {
        "open": rate(counts.opened, counts.reached),
        "click": rate(counts.clicked, counts.reached),
        "click_to_open": rate(counts.clicked, counts.opened),
        "unsubscribe": rate(counts.unsubscribed, counts.reached),
        "bounce": rate(counts.bounced, counts.accepted),
        "complaint": rate(counts.complained, counts.reached),
    }


def counts_of(rows: Iterable[Mapping[str, Any]]) -> Counts:
    """Gather sums (channel_id, kind, verdict, total, uniques) of any number of channels into counts."""
    found: dict[int, dict[str, int]] = {}
    for row in rows:
        sums = found.setdefault(row["channel_id"], {})
        kind = row["kind"]
        if kind == "complained":
            sums[kind] = sums.get(kind, 0) + row["uniques"]
        elif kind not in HUMAN_KINDS:
            sums[kind] = sums.get(kind, 0) + row["total"]
        elif row["verdict"] == "human":
            sums[kind] = sums.get(kind, 0) + row["uniques"]
    return sum((_counts_of_channel(sums) for sums in found.values()), Counts())


def _counts_of_channel(sums: dict[str, int]) -> Counts:
    accepted = sums.get("accepted", 0)
    named = {name: sums.get(name, 0) for name in NAMES if name not in {"accepted", "reached"}}
    return Counts(accepted=accepted, reached=sums.get("delivered", 0) or accepted, **named)
