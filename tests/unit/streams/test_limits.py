"""The poison limit, the rebalance watch and the log budget: states with the time as an argument."""

import logging
import threading

import pytest

from publishing.domain.poison import PoisonLimit
from streams.guard import poison_limit
from streams.watchdog import LineBudget, RebalanceWatch, Watchdog

pytestmark = pytest.mark.unit


def noted(pattern: str, *, every_s: float = 0.0) -> PoisonLimit:
    """A limit after a pattern of p(oison) and g(ood) records."""
    limit = poison_limit()
    for place, letter in enumerate(pattern):
        limit.note(is_poison=letter == "p", now_s=place * every_s)
    return limit


@pytest.mark.parametrize(
    ("pattern", "exceeded"),
    [
        ("", False),
        ("p" * 99, False),
        ("p" * 100, True),
        ("g" * 95 + "p" * 95, False),
        ("g" * 100 + "p" * 100, False),
        ("g" * 99 + "p" * 101, True),
        ("p" * 101 + "g" * 99, True),
        ("p" * 101 + "g" * 101, False),
        ("pg" * 500, False),
        ("ppg" * 200, True),
    ],
)
def test_the_limit_takes_more_than_half_of_the_last_200(pattern: str, exceeded: object) -> None:
    """At least 100 poison records, and more than half of the last 200."""
    assert noted(pattern).is_exceeded is exceeded


def test_poison_of_long_ago_is_forgotten() -> None:
    """A trickle of poison over hours is no bad deploy: only ten minutes count."""
    assert noted("p" * 150, every_s=1).is_exceeded
    assert not noted("p" * 150, every_s=7).is_exceeded


def test_a_rebalance_may_last_until_its_limit() -> None:
    """Expired only once it has lasted longer than the limit without a pause."""
    watch = RebalanceWatch(limit_s=120)
    assert not watch.observe(is_rebalancing=True, now_s=0)
    assert not watch.observe(is_rebalancing=True, now_s=120)
    assert not watch.observe(is_rebalancing=False, now_s=121)
    assert not watch.observe(is_rebalancing=True, now_s=122)
    assert not watch.observe(is_rebalancing=True, now_s=242)
    assert watch.observe(is_rebalancing=True, now_s=242.1)


def test_the_watchdog_kills_from_its_own_thread() -> None:
    """A stuck event loop cannot keep the watchdog from acting."""
    killed = threading.Event()
    reasons: list[str] = []
    now_s = iter(range(0, 10_000, 200))

    def kill(reason: str) -> None:
        reasons.append(reason)
        killed.set()

    watchdog = Watchdog(lambda: True, kill, lambda: float(next(now_s)))
    watchdog.start()
    assert killed.wait(10)
    watchdog.join(10)
    assert reasons == ["a rebalance outlasted its limit"]


def test_a_stopped_watchdog_ends() -> None:
    """Stopping ends the thread without a kill."""
    watchdog = Watchdog(lambda: False, pytest.fail, lambda: 0.0)
    watchdog.start()
    watchdog.stop()
    watchdog.join(10)
    assert not watchdog.is_alive()


def test_the_log_budget_lets_a_burst_and_then_a_few_a_second() -> None:
    """Twenty lines at once, then five a second, whatever is asked."""
    now_s = [0.0]
    budget = LineBudget(lambda: now_s[0])
    line = logging.LogRecord("aiokafka", logging.WARNING, "", 0, "away", None, None)
    assert sum(budget.filter(line) for _ in range(1000)) == 20
    now_s[0] = 2.0
    assert sum(budget.filter(line) for _ in range(1000)) == 10
