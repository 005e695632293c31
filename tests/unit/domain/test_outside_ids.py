"""The ids of events that come from outside."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.outside_ids import EVENT_ID_BYTES, outside_id

pytestmark = pytest.mark.unit

sources = st.text(st.characters(exclude_characters="\n"))


def test_id_is_what_anybody_can_recompute() -> None:
    """An id is BLAKE2b-16 of source, a line feed and number."""
    assert outside_id("sns", "m-1/0") == hashlib.blake2b(b"sns\nm-1/0", digest_size=16).digest()


@given(sources, st.text(), sources, st.text())
def test_ids_are_equal_only_for_equal_names(source: str, number: str, other: str, another: str) -> None:
    """Two events have one id only when both source and number are the same."""
    first, second = outside_id(source, number), outside_id(other, another)
    assert len(first) == EVENT_ID_BYTES
    assert (first == second) == ((source, number) == (other, another))


def test_line_feed_cannot_move_from_number_to_source() -> None:
    """A source with a line feed could be read as another source with a longer number."""
    with pytest.raises(ValueError, match="line feed"):
        outside_id("sns\nm", "1")


def test_a_lone_surrogate_has_an_id() -> None:
    """JSON may carry a lone surrogate; it has an id as any other text."""
    assert outside_id("beacon", "\ud800") != outside_id("beacon", "?")
