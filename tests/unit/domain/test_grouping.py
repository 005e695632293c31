"""Groups of equal rows: packed into one number or not, they are the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.grouping import grouped, packed, runs_of

pytestmark = pytest.mark.unit

WIDE = st.sampled_from([-(2**62), -1, 0, 1, 2**62])
NARROW = st.integers(-2, 2)


@given(rows=st.lists(st.tuples(NARROW | WIDE, NARROW, WIDE | NARROW), max_size=20))
def test_groups_number_the_distinct_rows_in_order(rows: list[tuple[int, int, int]]) -> None:
    """The number of a row is its place among the sorted distinct rows; first is where it stands first."""
    columns = [np.array([row[n] for row in rows], np.int64) for n in range(3)]
    group, firsts = grouped(columns)
    distinct = sorted(set(rows))
    assert group.tolist() == [distinct.index(row) for row in rows]
    assert firsts.tolist() == [rows.index(row) for row in distinct]


def test_packing_keeps_order_and_knows_its_limit() -> None:
    """The worked example, and columns that need more than 62 bits together."""
    assert packed([np.array([0, 3, 0]), np.array([5, 5, 6])]) is not None
    assert list(packed([np.array([0, 3, 0]), np.array([5, 5, 6])])) == [0, 6, 1]  # type: ignore[arg-type]
    assert packed([np.array([0, 2**61]), np.array([0, 1])]) is None


def test_runs_bring_equal_numbers_together() -> None:
    """The order sorts, and each start is where a new number begins."""
    order, starts = runs_of(np.array([5, 1, 5, 1, 2]))
    assert order.tolist() == [1, 3, 4, 0, 2]
    assert starts.tolist() == [0, 2, 3]
