"""Selection equals choosing one by one, and does not depend on order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.interests import Vocabulary, squared_norms, weight_matrix
from publishing.domain.publications import Selection
from publishing.domain.selection import MIN_SHORTLIST, choose, similarities

pytestmark = pytest.mark.unit

STEPS = 20


def reference(scores: list[float], seen: list[bool], similarity: list[list[float]], rule: Selection) -> list[int]:
    """One reader's choice, written as one would say it."""
    usable = [place for place, score in enumerate(scores) if score >= rule.minimum_score and not seen[place]]
    usable = sorted(usable, key=lambda place: (-scores[place], place))[: max(4 * rule.count, MIN_SHORTLIST)]
    chosen: list[int] = []
    while usable and len(chosen) < rule.count:

        def gain(place: int) -> float:
            nearest = max((similarity[one][place] for one in chosen), default=0.0)
            return scores[place] * (1.0 - rule.diversity * nearest)

        best = min(usable, key=lambda place: (-gain(place), place))
        chosen.append(best)
        usable.remove(best)
    return chosen


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[list[float]], list[list[bool]], list[list[float]], Selection]:
    """Scores, seen pairs and similarities of a few readers and items; sometimes more items than a shortlist has."""
    items = draw(st.one_of(st.integers(1, 8), st.integers(55, 90)))
    readers = draw(st.integers(1, 4))
    state = np.random.default_rng(draw(st.integers(0, 2**32)))
    scores = state.integers(0, STEPS + 1, (readers, items)) / STEPS
    seen = state.random((readers, items)) < draw(st.sampled_from([0.0, 0.3, 1.0]))
    half = state.integers(0, 5, (items, items)) / 4
    similarity = np.maximum(half, half.T)
    rule = Selection(
        count=draw(st.integers(1, 7)),
        minimum_score=draw(st.sampled_from([0.0, 0.05, 0.5, 1.0])),
        diversity=draw(st.sampled_from([0.0, 0.25, 0.8, 1.0])),
    )
    return scores.tolist(), seen.tolist(), similarity.tolist(), rule


@given(case=cases())
def test_the_choice_equals_choosing_one_by_one(
    case: tuple[list[list[float]], list[list[bool]], list[list[float]], Selection],
) -> None:
    """For each reader the same items in the same order as the plain loop, and the same reason for none."""
    scores, seen, similarity, rule = case
    chosen = choose(np.array(scores), np.array(seen, bool), np.array(similarity), rule)
    for reader, row in enumerate(chosen.items.tolist()):
        assert [place for place in row if place >= 0] == reference(scores[reader], seen[reader], similarity, rule)
        reaches = [score >= rule.minimum_score for score in scores[reader]]
        assert chosen.is_without_content[reader] == (not any(reaches))
        unseen = [reach and not is_seen for reach, is_seen in zip(reaches, seen[reader], strict=True)]
        assert chosen.is_all_seen[reader] == (any(reaches) and not any(unseen))


def test_a_second_item_like_the_first_gives_way() -> None:
    """The worked example: .9, .8, .7, of which the first two are alike."""
    similarity = np.array([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    scores = np.array([[0.9, 0.8, 0.7]])
    rule = Selection(count=2, minimum_score=0.0, diversity=0.8)
    assert choose(scores, np.zeros((1, 3), bool), similarity, rule).items.tolist() == [[0, 2]]


def test_similarity_is_the_cosine_of_topics() -> None:
    """Alike 1, partly alike in between, nothing in common or no topics 0."""
    vocabulary = Vocabulary()
    topics = weight_matrix([{"go": 1.0}, {"go": 0.5}, {"go": 1.0, "sql": 1.0}, {"sql": 1.0}, {}], vocabulary)
    found = similarities(topics, squared_norms(topics), slice(0, 5))
    assert found[0].tolist() == pytest.approx([1.0, 1.0, 2**-0.5, 0.0, 0.0])
    assert found[4].tolist() == [0.0] * 5


def test_of_equal_scores_the_lowest_numbers_are_on_the_shortlist() -> None:
    """With more equals than a shortlist holds, the first items are chosen, not the last."""
    scores = np.full((2, MIN_SHORTLIST + 20), 0.5)
    rule = Selection(count=3, minimum_score=0.0, diversity=0.0)
    similarity = np.zeros((MIN_SHORTLIST + 20, MIN_SHORTLIST + 20))
    assert choose(scores, np.zeros(scores.shape, bool), similarity, rule).items.tolist() == [[0, 1, 2], [0, 1, 2]]
