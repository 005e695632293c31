"""How long to wait before trying again."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.retries import BASE_S, CAP_S, backoff_s

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("failures", "draw", "expected_s"),
    [
        (1, 0.5, 0.025),
        (2, 0.5, 0.05),
        (3, 0.5, 0.1),
        (6, 0.5, 0.8),
        (7, 0.5, 1.0),
        (100_000, 0.5, 1.0),
        (0, 0.5, 0.025),
    ],
)
def test_tier_doubles_up_to_the_cap(failures: int, draw: float, expected_s: float) -> None:
    """The wait is drawn from a tier that doubles with each failure and ends at 2 s."""
    assert backoff_s(failures, draw) == pytest.approx(expected_s)


@given(st.integers(0, 10**9), st.floats(0, 1, exclude_max=True))
def test_wait_is_never_above_the_cap(failures: int, draw: float) -> None:
    """However many failures there were, the wait is in [0, 2 s)."""
    assert 0.0 <= backoff_s(failures, draw) < CAP_S


def test_jitter_is_full() -> None:
    """A draw of 0 waits for nothing: the wait covers the whole tier, not its upper half."""
    assert backoff_s(9, 0.0) == 0.0
    assert backoff_s(1, 0.999) == pytest.approx(BASE_S, rel=0.01)
