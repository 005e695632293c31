"""Interests: exact weights, learning and rings."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.interests import (
    RING_SIZE,
    Vocabulary,
    exact,
    learn,
    remember,
    squared_norms,
    stack,
    weight_matrix,
    widen,
)

pytestmark = pytest.mark.unit

weights = st.dictionaries(st.sampled_from(["go", "rust", "c", "sql"]), st.floats(0, 1), max_size=4)


@given(rows=st.lists(weights, max_size=6))
def test_a_matrix_holds_the_exact_weights_whatever_the_order_of_topics(rows: list[dict[str, float]]) -> None:
    """Two vocabularies of another order give the same sums, to the last bit."""
    forward, backward = Vocabulary(), Vocabulary()
    for name in ["go", "rust", "c", "sql"]:
        forward.column(name)
    for name in ["sql", "c", "rust", "go"]:
        backward.column(name)
    one, other = weight_matrix(rows, forward), weight_matrix(rows, backward)
    assert squared_norms(one).tolist() == squared_norms(other).tolist()
    for number, row in enumerate(rows):
        column = forward.find("go")
        assert column is not None
        assert one[number, column] == exact(row.get("go", 0.0))
        assert squared_norms(one)[number] == sum(exact(weight) ** 2 for weight in row.values())


def test_matrices_are_widened_and_stacked() -> None:
    """Rows keep their weights when the vocabulary has grown."""
    vocabulary = Vocabulary()
    first = weight_matrix([{"go": 1.0}], vocabulary)
    second = weight_matrix([{"rust": 0.5}], vocabulary)
    assert widen(second, 2) is second
    assert np.asarray(stack([first, second], 2).toarray()).tolist() == [[1.0, 0.0], [0.0, 0.5]]
    assert vocabulary.names() == ["go", "rust"]
    assert vocabulary.find("c") is None


@given(before=weights, topics=weights)
def test_learning_moves_towards_one_and_stays_in_range(before: dict[str, float], topics: dict[str, float]) -> None:
    """A click never lowers a weight, never leaves [0, 1] and leaves other topics as they were."""
    before = {name: exact(weight) for name, weight in before.items()}
    after = learn(before, topics)
    for name in before:
        assert exact(before[name]) <= after[name] <= 1.0
        assert name in topics or after[name] == before[name]
    assert all(weight > 0 for name, weight in after.items() if name not in before)


def test_one_click_moves_by_an_eighth() -> None:
    """The worked example: from .5 with topic weight 1 to .5625; from nothing to .125."""
    assert learn({"go": 0.5}, {"go": 1.0, "rust": 1.0}) == {"go": 0.5625, "rust": 0.125}


@given(ring=st.lists(st.integers(1, 300), max_size=RING_SIZE), numbers=st.lists(st.integers(1, 300), max_size=200))
def test_a_ring_holds_the_newest_each_once(ring: list[int], numbers: list[int]) -> None:
    """The last occurrence counts, and the ring is bounded."""
    after = remember(ring, numbers)
    order = list(dict.fromkeys(reversed([*dict.fromkeys(ring), *numbers])))
    assert list(reversed(after)) == order[:RING_SIZE]
