"""Gapless marks: what counts as applied."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.watermarks import ContiguousMark

pytestmark = pytest.mark.unit


@given(numbers=st.lists(st.integers(1, 12), max_size=30), start=st.integers(0, 5))
def test_the_mark_is_the_last_number_before_the_first_gap(numbers: list[int], start: int) -> None:
    """Whatever the order and the repeats, the mark is the largest n with every number up to n applied."""
    mark = ContiguousMark(start)
    for number in numbers:
        mark.apply([number])
    applied = set(range(1, start + 1)) | set(numbers)
    expected = start
    while expected + 1 in applied:
        expected += 1
    assert mark.value == expected
    assert mark.reached(expected)
    assert not mark.reached(expected + 1)
    assert all(mark.has(number) for number in applied)
    assert not mark.has(13)


def test_numbers_applied_at_once_are_as_good_as_one_by_one() -> None:
    """The worked example: 5, 6, 4 after 3."""
    mark = ContiguousMark(3)
    mark.apply([5, 6])
    assert mark.value == 3
    mark.apply([4])
    assert mark.value == 6
