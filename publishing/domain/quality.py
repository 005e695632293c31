"""Owns the quality score of an item: the port that scorers implement, and the scorer that needs no service."""

import html
import math
import re
from collections.abc import Sequence
from typing import Protocol

from schemas.messages import ContentSubmitted

TAG = re.compile(r"<[^>]{0,2000}>")
LINK = re.compile(r"<a[\s>]|https?://", re.IGNORECASE)
SENTENCE_END = re.compile(r"(?<![.!?…。])[.!?…。]+(?:\s|$)")
WORD = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*")
VOWELS = re.compile(r"[aeiouyàâäéèêëîïôöùûüáíóúãõ]+", re.IGNORECASE)

READ_CHARS = 20_000
"""How much of a text is read: the score of a long article is that of its beginning, in bounded time."""

ENOUGH_WORDS = 300
LINKS_PER_WORD = 0.05
"""From one link in twenty words on, a text counts as a list of links."""

LENGTH_SHARE, EASE_SHARE, LINK_SHARE = 0.4, 0.4, 0.2


class Scorer(Protocol):
    """Scores items from 0 (poor) to 1 (good); `name` and `version` say which scores may be compared."""

    name: str
    version: int

    async def scores(self, items: Sequence[ContentSubmitted], /) -> list[float]:
        """One score an item, in their order; whatever a producer scored itself is the caller's to prefer."""
        ...


class LocalScorer:
    """Scores from the text alone: how readable, how long, how much more than links."""

    name = "local"
    version = 1

    async def scores(self, items: Sequence[ContentSubmitted], /) -> list[float]:
        """One score an item, in their order."""
        return [quality_of(item.title, item.summary, item.body or "") for item in items]


def quality_of(title: str, summary: str, body: str) -> float:
    """The score of a text: .4 length + .4 reading ease + .2 freedom from links, rounded to 4 decimals.

    Worked: nothing but a one-word title has length log(2) / log(301) = .1215.
    """
    markup = f"{title}. {summary} {body}"[:READ_CHARS]
    links = len(LINK.findall(markup))
    text = html.unescape(TAG.sub(" ", markup))
    words = WORD.findall(text)
    if not words:
        return 0.0
    length = min(math.log1p(len(words)) / math.log1p(ENOUGH_WORDS), 1.0)
    free = 1.0 - min(links / len(words) / LINKS_PER_WORD, 1.0)
    score = LENGTH_SHARE * length + EASE_SHARE * reading_ease(text, words) + LINK_SHARE * free
    return round(min(max(score, 0.0), 1.0), 4)


def reading_ease(text: str, words: Sequence[str]) -> float:
    """Flesch's reading ease, cut to [0, 100] and divided by 100; words are those of the text, at least one.

    206.835 - 1.015 words/sentences - 84.6 syllables/words (Flesch, A new readability yardstick, 1948).
    Worked: one sentence of ten one-syllable words -> 112.1 -> 1; of ten three-syllable words -> -57.1 -> 0.
    """
    sentences = max(len(SENTENCE_END.findall(text)), 1)
    syllables = sum(max(len(VOWELS.findall(word)), 1) for word in words)
    ease = 206.835 - 1.015 * len(words) / sentences - 84.6 * syllables / len(words)
    return min(max(ease, 0.0), 100.0) / 100.0
