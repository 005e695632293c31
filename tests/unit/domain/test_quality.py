"""The local quality score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.quality import LocalScorer, Scorer, quality_of, reading_ease
from tests.fakes.content_items import submitted

pytestmark = pytest.mark.unit

PLAIN = "The cat sat on the mat. It was warm. The dog slept by the door. " * 30


@given(title=st.text(max_size=60), summary=st.text(max_size=200), body=st.text(max_size=2_000))
def test_a_score_is_within_zero_and_one_and_always_the_same(title: str, summary: str, body: str) -> None:
    """Whatever the text, the score is a number of [0, 1], and the same text has the same score."""
    score = quality_of(title, summary, body)
    assert 0.0 <= score <= 1.0
    assert score == quality_of(title, summary, body)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (("Cats", "", PLAIN), ("Cats", "", PLAIN[:60])),
        (("Cats", "", PLAIN), ("Cats", "", "Institutional interoperability characteristically necessitates. " * 40)),
        (("Cats", "", PLAIN), ("Cats", "", "<a href='https://example.org'>cat</a> " * 300)),
    ],
    ids=["longer", "easier", "fewer links"],
)
def test_what_makes_a_text_better(better: tuple[str, str, str], worse: tuple[str, str, str]) -> None:
    """More text, easier text, and text that is not a list of links score higher."""
    assert quality_of(*better) > quality_of(*worse)


@pytest.mark.parametrize(
    ("text", "ease"),
    [("the cat sat on the mat with a red hat", 1.0), ("umbrella " * 10, 0.0)],
)
def test_reading_ease_is_cut_to_its_range(text: str, ease: float) -> None:
    """The worked examples: ten one-syllable words, ten three-syllable words."""
    assert reading_ease(text, text.split()) == ease


def test_a_text_without_words_scores_nothing() -> None:
    """No words, no score; a one-word title has the worked length."""
    assert quality_of("123", "", "") == 0.0
    assert quality_of("Cat", "", "") == pytest.approx(0.4 * 0.1215 + 0.4 + 0.2, abs=1e-3)


def test_markup_that_never_ends_takes_no_time() -> None:
    """A megabyte of open tags is scored by its beginning."""
    assert 0.0 <= quality_of("Title", "", "<a " * 400_000) <= 1.0


async def test_the_local_scorer_scores_each_item() -> None:
    """One score an item, in their order."""
    scorer: Scorer = LocalScorer()
    poor, good = await scorer.scores([submitted(summary="", body=None), submitted(body=PLAIN)])
    assert poor < good
