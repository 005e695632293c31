"""Text is cut to a limit without breaking a character or keeping a control."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.truncation import ELLIPSIS, one_line, shorten, width

pytestmark = pytest.mark.unit


@given(st.text(max_size=60), st.integers(0, 70))
def test_never_longer_than_the_limit(text: str, limit: int) -> None:
    """The result never exceeds the limit in UTF-16 units, and text within it is untouched."""
    cut = shorten(text, limit)
    assert width(cut) <= limit
    assert cut == text if width(text) <= limit else cut.endswith(ELLIPSIS) or limit == 0


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("abcdef", 4, "abc\u2026"),
        ("abc", 3, "abc"),
        ("e\u0301e\u0301", 3, "e\u0301\u2026"),
        ("\U0001f600\U0001f600", 3, "\U0001f600\u2026"),
        ("a b", 2, "a\u2026"),
    ],
)
def test_cuts(text: str, limit: int, expected: str) -> None:
    """A cut falls between whole characters and leaves no space before the ellipsis."""
    assert shorten(text, limit) == expected


@pytest.mark.parametrize("text", ["a\r\nb", "a\x00b", "a\u2028b", "a\x85b", "\u202ea b\u2069", " a \t b ", "a\ud800b"])
def test_one_line_drops_controls(text: str) -> None:
    """No control, separator or directional mark survives, and what it divided stays divided."""
    assert one_line(text) == "a b"
