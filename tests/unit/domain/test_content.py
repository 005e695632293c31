"""What makes content fit for publishing."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.content import MAX_CHARS, ContentError, check, newest_versions, reviewed
from schemas.messages import ContentType, Priority
from tests.fakes.content_items import NOW, submitted

pytestmark = pytest.mark.unit

HOUR = dt.timedelta(hours=1)

UNFIT: list[tuple[str, dict[str, Any]]] = [
    ("title", {"title": ""}),
    ("title", {"title": " \t "}),
    ("title", {"title": "two\nlines"}),
    ("title", {"title": "x" * (MAX_CHARS["title"] + 1)}),
    ("title", {"title": "nul \x00"}),
    ("title", {"title": "escape \x1b[31m"}),
    ("title", {"title": "surrogate \ud800"}),
    ("summary", {"summary": "bell \x07"}),
    ("summary", {"summary": "x" * (MAX_CHARS["summary"] + 1)}),
    ("body", {"body": "delete \x7f"}),
    ("body", {"body": "x" * (MAX_CHARS["body"] + 1)}),
    ("author", {"author": "a\nb"}),
    ("source", {"source": " "}),
    ("id", {"id": ""}),
    ("id", {"id": "x" * (MAX_CHARS["id"] + 1)}),
    ("url", {"url": ""}),
    ("url", {"url": "/relative"}),
    ("url", {"url": "javascript:alert(1)"}),
    ("url", {"url": "ftp://example.org/"}),
    ("url", {"url": "http://"}),
    ("url", {"url": "https://user:secret@example.org/"}),
    ("url", {"url": "https://example.org\\@evil.example/"}),
    ("url", {"url": "https://exa mple.org/"}),
    ("url", {"url": "https://[::1/"}),
    ("url", {"url": "https://example.org:99999999/"}),
    ("url", {"url": "https://example.org/" + "x" * MAX_CHARS["url"]}),
    ("topics", {"topics": {"go": float("nan")}}),
    ("topics", {"topics": {"go": float("inf")}}),
    ("topics", {"topics": {"go": 1.01}}),
    ("topics", {"topics": {"go": -0.01}}),
    ("topics", {"topics": {"": 1.0}}),
    ("topics", {"topics": {"a\nb": 1.0}}),
    ("topics", {"topics": {"x" * 65: 1.0}}),
    ("topics", {"topics": {f"t{number}": 1.0 for number in range(65)}}),
    ("published_at", {"published_at": dt.datetime(1970, 1, 1, tzinfo=dt.UTC)}),
    ("published_at", {"published_at": NOW + dt.timedelta(days=1, seconds=1)}),
    ("expires_at", {"expires_at": NOW}),
    ("expires_at", {"expires_at": dt.datetime(2100, 1, 2, tzinfo=dt.UTC)}),
    ("version", {"version": 0}),
    ("type", {"type": ContentType.UNKNOWN}),
    ("quality", {"quality": 1.5}),
    ("quality", {"quality": float("nan")}),
    ("language", {"language": "not a language"}),
    ("language", {"language": "x" * 36}),
]

FIT: list[dict[str, Any]] = [
    {},
    {"summary": "", "body": None, "topics": {}, "language": ""},
    {"title": "x" * MAX_CHARS["title"]},
    {"body": "x" * MAX_CHARS["body"], "summary": "two\nlines\tand a tab"},
    {"topics": {f"t{number}": number / 63 for number in range(64)}},
    {"published_at": NOW + dt.timedelta(days=1), "expires_at": NOW + dt.timedelta(days=2)},
    {"url": "http://[2001:db8::1]:8080/path?query=1#part"},
    {"title": "Überschrift, 见出し 🚀", "language": "zh-Hant-TW"},
    {"quality": 0.0, "type": ContentType.ALERT, "version": 2**31 - 1},
]


@pytest.mark.parametrize(("field", "fields"), UNFIT, ids=[f"{field}-{n}" for n, (field, _) in enumerate(UNFIT)])
def test_an_unfit_item_is_refused_by_the_name_of_its_field(field: str, fields: dict[str, Any]) -> None:
    """Each kind of unfitness is named by its field, with a remedy."""
    with pytest.raises(ContentError) as caught:
        check(submitted(**fields), now=NOW)
    assert caught.value.field == field
    assert caught.value.remedy
    assert str(caught.value).startswith(field)


@pytest.mark.parametrize("fields", FIT)
def test_what_is_at_its_limit_passes(fields: dict[str, Any]) -> None:
    """Limits are inclusive."""
    check(submitted(**fields), now=NOW)


@given(text=st.text(max_size=40))
def test_a_title_that_passes_can_be_stored(text: str) -> None:
    """A text that passes is UTF-8, without NUL, and shows something."""
    try:
        check(submitted(title=text), now=NOW)
    except ContentError:
        return
    assert text.strip()
    assert "\x00" not in text
    text.encode()


def test_what_is_left_open_gets_its_default() -> None:
    """No language is `und`, no priority is bulk, the title loses its margins."""
    row = reviewed(submitted(language="", priority=Priority.UNKNOWN, title=" Title "), quality=0.25, submitted_at=NOW)
    assert (row.language, row.priority, row.title, row.quality) == ("und", "bulk", "Title", 0.25)
    assert reviewed(submitted(priority=Priority.ALERT), quality=1.0, submitted_at=NOW).priority == "alert"


@given(versions=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from("xy"), st.integers(1, 4)), max_size=12))
def test_the_highest_version_of_each_item_is_kept(versions: list[tuple[str, str, int]]) -> None:
    """One row for each (source, id), its highest version, the first of equals, in order."""
    rows = [
        reviewed(submitted(source=source, id=number, version=version), quality=place / 100, submitted_at=NOW)
        for place, (source, number, version) in enumerate(versions)
    ]
    kept = newest_versions(rows)
    keys = [(row.source, row.external_id) for row in kept]
    assert keys == sorted({(source, number) for source, number, _ in versions})
    for row in kept:
        same = [one for one in rows if (one.source, one.external_id) == (row.source, row.external_id)]
        best = max(one.version for one in same)
        assert row is next(one for one in same if one.version == best)
