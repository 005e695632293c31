"""Rates: Wilson's interval by published numbers and by its properties, and what is counted of what."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.rates import Counts, Rate, counts_of, engagement_rates, is_above, rate, wilson

pytestmark = pytest.mark.unit

SHARES = st.integers(1, 10**9).flatmap(lambda of: st.tuples(st.integers(0, of), st.just(of)))


@pytest.mark.parametrize(
    ("count", "of", "low", "high"),
    [
        (10, 100, 0.0552, 0.1744),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_published_intervals(count: int, of: int, low: float, high: float) -> None:
    """The interval is Wilson's, to four digits."""
    assert wilson(count, of) == pytest.approx((low, high), abs=5e-5)


@given(SHARES)
def test_an_interval_holds_its_ratio(share: tuple[int, int]) -> None:
    """The interval lies in [0, 1], holds the ratio, and mirrors when successes and failures change places."""
    count, of = share
    low, high = wilson(count, of)
    assert 0 <= low <= count / of <= high <= 1
    mirrored = wilson(of - count, of)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=1e-9)


@given(SHARES)
def test_an_interval_solves_the_score_equation(share: tuple[int, int]) -> None:
    """At both ends the distance from the ratio is 1.96 standard errors of the end itself: the definition."""
    count, of = share
    for end in wilson(count, of):
        if 0 < end < 1 and end != count / of:
            assert abs(count / of - end) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / of), rel=1e-3)


@pytest.mark.parametrize(("count", "of"), [(1, 0), (0, 0), (-1, 3), (4, 3)])
def test_what_is_no_share(count: int, of: int) -> None:
    """An interval of what is no share is refused."""
    with pytest.raises(ValueError, match="share"):
        wilson(count, of)


def test_rates_without_an_interval() -> None:
    """Of nothing there is no rate; more than all is a ratio without an interval."""
    assert rate(3, 0) == Rate(3, 0, None, None, None)
    assert rate(4, 2) == Rate(4, 2, 2.0, None, None)


def test_above_means_apart() -> None:
    """One rate is above another only when their intervals do not touch."""
    assert is_above(rate(400, 1000), rate(300, 1000))
    assert not is_above(rate(320, 1000), rate(300, 1000))
    assert not is_above(rate(300, 1000), rate(400, 1000))
    assert not is_above(rate(4, 2), rate(300, 1000))
    assert not is_above(rate(300, 1000), rate(0, 0))


def test_worked_numbers() -> None:
    """Each rate has its own denominator."""
    counts = Counts(accepted=1000, reached=980, opened=294, clicked=49, unsubscribed=7, bounced=20, complained=1)
    found = {name: (one.count, one.of) for name, one in engagement_rates(counts).items()}
    assert found == {
        "open": (294, 980),
        "click": (49, 980),
        "click_to_open": (49, 294),
        "unsubscribe": (7, 980),
        "bounce": (20, 1000),
        "complaint": (1, 980),
    }


def test_counts_of_sums() -> None:
    """Opens are human first touches, sendings are totals, and reached is what the channel can say."""
    rows = [
        (1, "accepted", "unknown", 100, 0),
        (1, "delivered", "unknown", 96, 0),
        (1, "opened", "human", 50, 30),
        (1, "opened", "machine", 90, 80),
        (1, "clicked", "unknown", 3, 3),
        (1, "complained", "unknown", 2, 1),
        (1, "bounced", "unknown", 4, 0),
        (2, "accepted", "unknown", 10, 0),
        (2, "clicked", "human", 5, 4),
        (2, "suppressed", "unknown", 9, 0),
    ]
    names = ("channel_id", "kind", "verdict", "total", "uniques")
    assert counts_of(dict(zip(names, row, strict=True)) for row in rows) == Counts(
        accepted=110, reached=106, opened=30, clicked=4, bounced=4, complained=1
    )
