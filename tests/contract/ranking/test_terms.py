"""Every ranking term keeps the same contract."""

import datetime as dt
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain import ranking
from publishing.domain.interests import Vocabulary, weight_matrix
from publishing.domain.scoring import Floats, Ranked, Term, blend, item_columns, to_ms
from schemas.messages import ContentItem
from tests.fakes.content_items import NOW, item

pytestmark = pytest.mark.contract

TERMS = ranking.load()
each_term = pytest.mark.parametrize("term", TERMS, ids=[term.name for term in TERMS])

weights = st.dictionaries(st.sampled_from(["go", "rust", "sql"]), st.floats(0, 1), max_size=3)
items = st.builds(
    lambda topics, quality, age_s: item(
        1, topics=topics, quality=quality, published_at=NOW - dt.timedelta(seconds=age_s)
    ),
    weights,
    st.floats(0, 1),
    st.integers(-100_000, 10_000_000),
)


def numbered(given_items: Sequence[ContentItem]) -> list[ContentItem]:
    """Items with numbers of their own."""
    return [
        item(place + 1, topics=one.topics, quality=one.quality, published_at=one.published_at)
        for place, one in enumerate(given_items)
    ]


def ranked(readers: Sequence[dict[str, float]], given_items: Sequence[ContentItem]) -> Ranked:
    """What a term reads."""
    vocabulary = Vocabulary()
    columns = item_columns(given_items, vocabulary)
    return Ranked(interests=weight_matrix(readers, vocabulary), items=columns, as_of_ms=to_ms(NOW))


def spread(scores: Floats, readers: int) -> Floats:
    """Scores of every pair, also where the term gives one row for all readers."""
    return np.broadcast_to(scores, (readers, scores.shape[1]))


@each_term
@given(readers=st.lists(weights, min_size=1, max_size=4), given_items=st.lists(items, max_size=5))
@settings(deadline=None)
def test_scores_are_bounded_deterministic_and_pure(
    term: Term, readers: list[dict[str, float]], given_items: list[ContentItem]
) -> None:
    """Within [0, 1], the same at every call, and nothing that was read is changed."""
    reading = ranked(readers, numbered(given_items))
    before = [reading.interests.toarray().tobytes(), reading.items.topics.toarray().tobytes()]
    before += [reading.items.quality.tobytes(), reading.items.published_ms.tobytes()]
    scores = term.score(reading)
    assert scores.shape in {(1, len(given_items)), (len(readers), len(given_items))}
    assert scores.dtype == np.float64
    assert bool(((scores >= 0) & (scores <= 1)).all())
    assert term.score(reading).tobytes() == scores.tobytes()
    after = [reading.interests.toarray().tobytes(), reading.items.topics.toarray().tobytes()]
    after += [reading.items.quality.tobytes(), reading.items.published_ms.tobytes()]
    assert after == before


@each_term
@given(readers=st.lists(weights, min_size=1, max_size=4), given_items=st.lists(items, min_size=1, max_size=4))
@settings(deadline=None)
def test_all_pairs_at_once_equal_each_pair_alone(
    term: Term, readers: list[dict[str, float]], given_items: list[ContentItem]
) -> None:
    """Vectorised = scalar, to the last bit."""
    every = numbered(given_items)
    at_once = spread(term.score(ranked(readers, every)), len(readers))
    for row, reader in enumerate(readers):
        for column, one in enumerate(every):
            assert term.score(ranked([reader], [one]))[0, 0] == at_once[row, column]


@each_term
def test_a_term_is_named_after_its_module(term: Term) -> None:
    """Name, version and weight are what the blend and its readers rely on."""
    assert term.__name__ == f"publishing.domain.ranking.{term.name}"  # type: ignore[attr-defined]
    assert term.version >= 1
    assert term.weight > 0


def test_the_blend_is_the_weighted_mean() -> None:
    """The worked example, and the names and weights that scores are compared by."""
    assert {term.name: term.weight for term in TERMS} == {"quality": 0.2, "recency": 0.2, "topics": 0.6}
    three_days_ago = NOW - dt.timedelta(hours=72)
    reading = ranked([{"go": 1.0}, {}], [item(1, topics={"go": 0.5}, quality=1.0, published_at=three_days_ago)])
    assert blend(reading, TERMS).tolist() == [[0.9], [0.3]]
