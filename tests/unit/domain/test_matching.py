"""Matching over columns equals matching one by one."""

import datetime as dt
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain.interests import exact
from publishing.domain.matching import (
    AudienceColumns,
    Reader,
    ReaderState,
    Vocabularies,
    audience_mask,
    columns_of,
    content_matches,
    kept_topics,
    merged,
    seen_mask,
    with_rings,
    with_states,
)
from publishing.domain.publications import AudienceFilter, ContentFilter
from schemas.messages import ContentType
from tests.fakes.content_items import NOW, item

pytestmark = pytest.mark.unit

HOUR = dt.timedelta(hours=1)
names = st.sampled_from(["go", "rust", "sql"])
weights = st.dictionaries(names, st.floats(0, 1), max_size=3).map(kept_topics)
attributes = st.dictionaries(
    st.sampled_from(["plan", "n"]), st.sampled_from(["pro", "free", 1, True, 1.5, None, "1", [1, 2]]), max_size=2
)
readers = st.builds(
    Reader,
    destination=st.integers(1, 20),
    active=st.booleans(),
    channels=st.frozensets(st.sampled_from(["email", "slack"])),
    topics=weights,
    attributes=attributes,
    learned=weights,
    recent=st.lists(st.integers(-9, 9), max_size=5, unique=True).map(tuple),
)


def rows_of(columns: AudienceColumns, vocabularies: Vocabularies) -> dict[int, tuple[Any, ...]]:
    """What columns say of each reader, as plain values."""
    topics = vocabularies.topics.names()
    declared, attributes_of = columns.declared.toarray(), columns.attributes.toarray()
    return {
        int(number): (
            bool(columns.active[row]),
            int(columns.kinds[row]),
            {topics[place]: float(weight) for place, weight in enumerate(declared[row]) if weight},
            columns.learned_of(row, vocabularies.topics),
            {vocabularies.attributes.names()[place] for place, value in enumerate(attributes_of[row]) if value},
            columns.ring(row),
        )
        for row, number in enumerate(columns.destinations)
    }


@given(given_readers=st.lists(readers, max_size=12))
@settings(max_examples=40, deadline=None)
def test_columns_hold_each_reader_as_given_last(given_readers: list[Reader]) -> None:
    """Destinations ascend, each once, and each row is its reader's."""
    vocabularies = Vocabularies()
    columns = columns_of(given_readers, vocabularies)
    expected = {reader.destination: reader for reader in given_readers}
    assert columns.destinations.tolist() == sorted(expected)
    rows = rows_of(columns, vocabularies)
    for number, reader in expected.items():
        active, kinds, declared, learned, _, ring = rows[number]
        assert (active, declared, learned, ring) == (reader.active, reader.topics, reader.learned, reader.recent)
        assert bool(kinds & 1) == ("email" in reader.channels)
        assert columns.row_of(number) == sorted(expected).index(number)
    assert columns.row_of(21) is None


@given(
    before=st.lists(readers, max_size=10),
    changed=st.lists(readers, max_size=6),
    removed=st.sets(st.integers(1, 20), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_merging_changes_equals_laying_out_anew(before: list[Reader], changed: list[Reader], removed: set[int]) -> None:
    """Kept by changes, a shard is the same as one loaded afresh."""
    vocabularies = Vocabularies()
    kept = merged(columns_of(before, vocabularies), changed, removed, vocabularies)
    final = {reader.destination: reader for reader in [*before, *changed] if reader.destination not in removed}
    other = Vocabularies()
    assert rows_of(kept, vocabularies) == rows_of(columns_of(final.values(), other), other)


@given(before=st.lists(readers, max_size=10), states=st.dictionaries(st.integers(1, 22), weights, max_size=6))
@settings(max_examples=40, deadline=None)
def test_states_replace_what_was_learned_and_nothing_else(
    before: list[Reader], states: dict[int, dict[str, float]]
) -> None:
    """Learned weights and rings change for readers of the shard; numbers of others are ignored."""
    vocabularies = Vocabularies()
    columns = columns_of(before, vocabularies)
    taken = {number: ReaderState(learned=learned, recent=(number, -7)) for number, learned in states.items()}
    after = rows_of(with_states(columns, taken, vocabularies), vocabularies)
    for number, row in rows_of(columns, vocabularies).items():
        expected = (*row[:3], taken[number].learned, row[4], taken[number].recent) if number in taken else row
        assert after[number] == expected
    assert with_rings(columns, {}).recent is columns.recent


@given(
    given_readers=st.lists(readers, max_size=10),
    topics=st.lists(st.sampled_from(["go", "rust", "unheard"]), max_size=2).map(tuple),
    wanted=attributes,
)
@settings(max_examples=40, deadline=None)
def test_the_audience_filter_equals_asking_each_reader(
    given_readers: list[Reader], topics: tuple[str, ...], wanted: dict[str, Any]
) -> None:
    """topics_any meets the declared topics (learned ones do not count); attributes are equal as JSON."""
    vocabularies = Vocabularies()
    columns = columns_of(given_readers, vocabularies)
    mask = audience_mask(columns, AudienceFilter(topics_any=topics, attributes=wanted), vocabularies)
    last = {reader.destination: reader for reader in given_readers}
    for row, number in enumerate(columns.destinations.tolist()):
        reader = last[number]
        meets = not topics or any(exact(reader.topics.get(name, 0.0)) > 0 for name in topics)
        equal = all(
            key in reader.attributes and repr(reader.attributes[key]) == repr(value) for key, value in wanted.items()
        )
        assert mask[row] == (meets and equal)


@given(given_readers=st.lists(readers, max_size=8), numbers=st.sets(st.integers(1, 9), max_size=6))
@settings(max_examples=40, deadline=None)
def test_seen_equals_looking_into_each_ring(given_readers: list[Reader], numbers: set[int]) -> None:
    """A pair is seen when the item's number is in the reader's ring; a negative number is no item sent."""
    columns = columns_of(given_readers, Vocabularies())
    ordered = sorted(numbers)
    mask = seen_mask(columns.recent, np.array(ordered, np.int64))
    expected = [[number in columns.ring(row) for number in ordered] for row in range(len(columns))]
    assert mask.tolist() == expected


@pytest.mark.parametrize(
    ("wanted", "fields", "passes"),
    [
        (ContentFilter(), {}, True),
        (ContentFilter(), {"retracted": True}, False),
        (ContentFilter(), {"expires_at": NOW}, False),
        (ContentFilter(), {"expires_at": NOW + HOUR}, True),
        (ContentFilter(max_age_hours=1), {"published_at": NOW - HOUR}, True),
        (ContentFilter(max_age_hours=1), {"published_at": NOW - HOUR - dt.timedelta(milliseconds=1)}, False),
        (ContentFilter(type="alert"), {}, False),
        (ContentFilter(type="alert"), {"type": ContentType.ALERT}, True),
        (ContentFilter(sources=("other",)), {}, False),
        (ContentFilter(sources=("other", "wire")), {}, True),
        (ContentFilter(topics_any=("go", "databases")), {}, True),
        (ContentFilter(topics_any=("go",)), {}, False),
        (ContentFilter(topics_any=("databases",)), {"topics": {"databases": 0.0}}, False),
        (ContentFilter(topics_all=("databases", "go")), {}, False),
        (ContentFilter(topics_all=("databases", "go")), {"topics": {"databases": 0.1, "go": 0.1}}, True),
    ],
)
def test_the_content_filter(wanted: ContentFilter, fields: dict[str, Any], passes: bool) -> None:  # noqa: FBT001  - a table's column
    """Each condition alone decides, at its limit."""
    assert content_matches(wanted, item(1, **fields), NOW) is passes


def test_topics_that_are_no_numbers_count_as_absent() -> None:
    """A stored weight is a number above 0, cut to 1."""
    assert kept_topics({"a": 1, "b": 2.5, "c": True, "d": "1", "e": None, "f": 0}) == {"a": 1.0, "b": 1.0}
