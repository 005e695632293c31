"""The breaker: a total table of what each call does in each state."""

import pytest

from ingest_api.breaker import FIRST_PAUSE_S, LONGEST_PAUSE_S, Breaker, BreakerState

pytestmark = pytest.mark.unit

CLOSED, HALF_OPEN, OPEN = BreakerState.CLOSED, BreakerState.HALF_OPEN, BreakerState.OPEN


def breaker_in(state: BreakerState) -> Breaker:
    """A breaker that came to a state at second 100 by its own doing."""
    breaker = Breaker()
    if state is not CLOSED:
        breaker.failed(100.0 - FIRST_PAUSE_S if state is HALF_OPEN else 100.0)
    if state is HALF_OPEN:
        assert breaker.admits(100.0)
    assert breaker.state is state
    return breaker


@pytest.mark.parametrize(
    ("state", "call", "then", "admits"),
    [
        (CLOSED, "succeeded", CLOSED, True),
        (CLOSED, "failed", OPEN, False),
        (HALF_OPEN, "succeeded", CLOSED, True),
        (HALF_OPEN, "failed", OPEN, False),
        (OPEN, "succeeded", CLOSED, True),
        (OPEN, "failed", OPEN, False),
    ],
)
def test_table(state: BreakerState, call: str, then: BreakerState, admits: int) -> None:
    """Every state under every outcome."""
    breaker = breaker_in(state)
    breaker.succeeded() if call == "succeeded" else breaker.failed(100.0)
    assert breaker.state is then
    assert breaker.admits(100.0) == admits


def test_one_tries_after_the_pause() -> None:
    """An open breaker lets one through when its pause is over, and no second one before that has ended."""
    breaker = breaker_in(OPEN)
    assert not breaker.admits(100.0 + FIRST_PAUSE_S - 0.01)
    assert breaker.admits(100.0 + FIRST_PAUSE_S)
    assert breaker.state is HALF_OPEN
    assert not breaker.admits(200.0)


def test_pauses_double_up_to_a_bound() -> None:
    """Each failed try doubles the pause up to 5 s; a success begins anew."""
    breaker, now_s, pauses = breaker_in(OPEN), 100.0, []
    for _ in range(8):
        start_s = now_s
        while not breaker.admits(now_s):
            now_s += 0.25
        pauses.append(now_s - start_s)
        breaker.failed(now_s)
    assert pauses[:4] == [0.25, 0.5, 1.0, 2.0]
    assert pauses[-1] == LONGEST_PAUSE_S
    breaker.succeeded()
    breaker.failed(now_s)
    assert breaker.admits(now_s + FIRST_PAUSE_S)
