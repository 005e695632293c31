"""The poison limit is a count over the last records of the last seconds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.poison import PoisonLimit

pytestmark = pytest.mark.unit


def limit_of_ten() -> PoisonLimit:
    """A limit over ten records of a minute: at least four poison, and more than half."""
    return PoisonLimit(window_records=10, window_s=60.0, least=4, ratio=0.5)


@pytest.mark.parametrize(
    ("pattern", "exceeded"),
    [("", False), ("ppp", False), ("pppp", True), ("ggggpppp", False), ("gggggppppp", False), ("ggggpppppp", True)],
)
def test_least_and_ratio_must_both_be_passed(pattern: str, exceeded: object) -> None:
    """At least so many, and more than the ratio; exactly the ratio is not above it."""
    limit = limit_of_ten()
    for letter in pattern:
        limit.note(is_poison=letter == "p", now_s=0.0)
    assert limit.is_exceeded is exceeded


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, 15.0, 61.0]), st.sampled_from([True, True, False])),
        min_size=1,
        max_size=60,
    )
)
def test_it_counts_what_a_recount_counts(steps: list[tuple[float, bool]]) -> None:
    """After any records at any times, it is exceeded where a count over the window alone says so."""
    limit, now_s, noted = limit_of_ten(), 0.0, list[tuple[float, bool]]()
    for pause_s, is_poison in steps:
        now_s += pause_s
        noted.append((now_s, is_poison))
        limit.note(is_poison=is_poison, now_s=now_s)
        window = [poison for at_s, poison in noted[-10:] if at_s >= now_s - 60.0]
        assert limit.is_exceeded is (sum(window) >= 4 and sum(window) > 0.5 * len(window))
