"""Owns how text is cut to a provider's limit: one line, no controls, never in the middle of a character."""

import re
import unicodedata

ELLIPSIS = "\u2026"
# C0, DEL, C1, line and paragraph separators, lone surrogates; tabs and newlines become spaces first.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
# What turns the direction of writing (Unicode UAX #9): a title must not rearrange the text around it.
_DIRECTIONS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
_ZERO_WIDTH_JOINER = "\u200d"
_VARIATION_SELECTORS = frozenset(chr(code) for code in range(0xFE00, 0xFE10))
_UNITS = "utf-16-le"


def one_line(text: str) -> str:
    """The text without controls and directional marks, every run of white space a single space."""
    return " ".join(_DIRECTIONS.sub("", _CONTROLS.sub(" ", text)).split())


def width(text: str) -> int:
    """The length in UTF-16 units: never less than what a provider counts. "a" is 1, an emoji is 2."""
    return len(text) if text.isascii() else len(text.encode(_UNITS, "surrogatepass")) // 2


def shorten(text: str, limit: int) -> str:
    """Cut to at most `limit` UTF-16 units, with an ellipsis for what was cut: "abcdef" at 4 is "abc\u2026"."""
    if width(text) <= limit:
        return text
    if limit <= 0:
        return ""
    # A half of a character at the cut is left out by the decoder.
    kept = text[: limit - 1].encode(_UNITS, "replace")[: 2 * (limit - 1)].decode(_UNITS, "ignore")
    while kept and _joins(text[len(kept)], kept[-1]):
        kept = kept[:-1]
    return kept.rstrip() + ELLIPSIS


def _joins(following: str, last: str) -> bool:
    """Whether a cut between the two characters would split what a reader sees as one."""
    return (
        _ZERO_WIDTH_JOINER in {last, following}
        or following in _VARIATION_SELECTORS
        or unicodedata.combining(following) > 0
    )
