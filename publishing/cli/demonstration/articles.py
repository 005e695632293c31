"""Real articles that ship inside every CPython: the language reference of `pydoc_data.topics`."""

import re
from collections import Counter
from datetime import datetime, timedelta
from pydoc_data.topics import topics as REFERENCE  # noqa: N812 - the standard library's name says less
from typing import Final

from schemas.messages import ContentSubmitted, ContentType, Priority

SOURCE: Final = "python-reference"
# Themes by the words that tell them; an article's topics are the themes that its text speaks of most.
THEMES: Final = {
    "async": ("async", "await", "coroutine", "asynchronous"),
    "classes": ("class", "metaclass", "inheritance", "descriptor", "attribute"),
    "control-flow": ("loop", "break", "continue", "while", "branch", "match"),
    "debugging": ("debugger", "breakpoint", "pdb", "frame"),
    "exceptions": ("exception", "raise", "except", "traceback", "error"),
    "formatting": ("format", "fstring", "conversion", "precision"),
    "functions": ("function", "argument", "parameter", "lambda", "call", "decorator"),
    "imports": ("import", "module", "package", "loader"),
    "mappings": ("dictionary", "mapping", "key", "dict"),
    "names": ("name", "scope", "binding", "namespace", "global"),
    "numbers": ("integer", "float", "complex", "numeric", "arithmetic"),
    "operators": ("operator", "operand", "expression", "comparison", "bitwise"),
    "sequences": ("list", "tuple", "sequence", "slice", "index"),
    "strings": ("string", "literal", "unicode", "character", "bytes"),
    "types": ("type", "annotation", "generic", "object"),
}
# The alert policy of the demo watches these.
WATCHED: Final = ("async", "exceptions", "imports")
MOST_TOPICS: Final = 3
LONGEST_SUMMARY: Final = 280
WORD: Final = re.compile(r"[a-z]+")
RULE: Final = re.compile(r"^[*=\-~^]{3,}$")


def topics_of(text: str) -> dict[str, float]:
    """The three themes that a text speaks of most, weighted by their share of the strongest, in (0, 1]."""
    words = Counter(WORD.findall(text.lower()))
    counts = {theme: sum(words[word] + words[word + "s"] for word in told_by) for theme, told_by in THEMES.items()}
    strongest = sorted((theme for theme in counts if counts[theme]), key=lambda theme: (-counts[theme], theme))
    return {theme: round(counts[theme] / counts[strongest[0]], 4) for theme in strongest[:MOST_TOPICS]}


def _paragraphs(text: str) -> list[str]:
    lines = [line for line in text.splitlines() if not RULE.match(line.strip())]
    return [" ".join(part.split()) for part in "\n".join(lines).split("\n\n") if part.strip()]


def articles(now: datetime) -> list[ContentSubmitted]:
    """Every article, published one an hour back from `now`, in the order of their labels."""
    return [
        _article(label, text, now - timedelta(hours=age)) for age, (label, text) in enumerate(sorted(REFERENCE.items()))
    ]


def _article(label: str, text: str, published_at: datetime) -> ContentSubmitted:
    title, *rest = _paragraphs(text)
    summary = rest[0] if rest else title
    return ContentSubmitted(
        source=SOURCE,
        id=label,
        version=1,
        type=ContentType.ARTICLE,
        title=title[:200],
        summary=summary if len(summary) <= LONGEST_SUMMARY else summary[: LONGEST_SUMMARY - 1].rsplit(" ", 1)[0] + "…",
        body=text,
        url=f"https://docs.python.org/3/reference/index.html#{label}",
        topics=topics_of(text),
        language="en",
        author=None,
        priority=Priority.ALERT,
        quality=None,
        published_at=published_at,
        expires_at=None,
        retracted=False,
    )
