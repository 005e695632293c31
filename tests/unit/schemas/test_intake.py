"""Content as JSON: strict about names and types, two ways to write a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import MAX_PAYLOAD_BYTES, decode, decode_json, encode
from schemas.convert import compile_converter
from schemas.errors import MalformedPayloadError, PayloadTooLargeError, SchemaError
from schemas.intake import FromJson
from schemas.messages import ContentSubmitted, ContentType, Priority

pytestmark = pytest.mark.unit

LEAST: dict[str, Any] = {
    "source": "wire",
    "id": "a-1",
    "version": 1,
    "type": "article",
    "title": "Title",
    "url": "https://example.org/a-1",
    "language": "en",
    "published_at": "2026-01-05T09:00:00+02:00",
}


def written(**fields: Any) -> bytes:
    """The least document with some fields replaced."""
    return json.dumps(LEAST | fields).encode()


def test_the_least_document_gets_the_defaults() -> None:
    """Only what has no sensible default must be sent."""
    content = decode_json(written())
    assert content.published_at == datetime(2026, 1, 5, 7, tzinfo=UTC)
    assert (content.type, content.priority) == (ContentType.ARTICLE, Priority.BULK)
    assert (content.summary, content.body, content.author, content.quality) == ("", None, None, None)
    assert (dict(content.topics), content.expires_at, content.retracted) == ({}, None, False)


def test_json_and_avro_of_one_item_are_the_same_message() -> None:
    """The form of the bytes does not show in the message."""
    content = decode(written(topics={"databases": 1}, expires_at=1767603600123), ContentSubmitted)
    assert decode(encode(content), ContentSubmitted) == content
    assert content.expires_at == datetime(2026, 1, 5, 9, 0, 0, 123000, tzinfo=UTC)


@pytest.mark.parametrize("moment", ["2026-01-05T07:00:00Z", "2026-01-05T07:00:00.000999Z", 1767596400000])
def test_a_time_is_iso_8601_or_epoch_milliseconds(moment: str | int) -> None:
    """Both ways name the same instant; what is below a millisecond is dropped."""
    assert decode_json(written(published_at=moment)).published_at == datetime(2026, 1, 5, 7, tzinfo=UTC)


@pytest.mark.parametrize("name", sorted(LEAST))
def test_a_missing_field_is_named(name: str) -> None:
    """Each field without a default must be there."""
    document = {key: value for key, value in LEAST.items() if key != name}
    with pytest.raises(MalformedPayloadError) as raised:
        decode_json(json.dumps(document).encode())
    assert (raised.value.field, raised.value.detail) == (name, "is missing")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("version", 2**31),
        ("version", 10**40),
        ("version", 1.0),
        ("version", True),
        ("version", "1"),
        ("title", None),
        ("title", 5),
        ("title", "a\x00b"),
        ("type", "video"),
        ("type", 1),
        ("priority", None),
        ("quality", True),
        ("quality", "0.5"),
        ("topics", ["databases"]),
        ("topics", None),
        ("retracted", 0),
        ("retracted", "false"),
        ("published_at", None),
        ("published_at", 1.5),
        ("published_at", "yesterday"),
        ("published_at", "2026-01-05T09:00:00"),
        ("published_at", 2**60),
        ("published_at", "9999-12-31T23:59:59-14:00"),
        ("published_at", "0001-01-01T00:00:00+14:00"),
    ],
)
def test_a_value_of_the_wrong_kind_is_named(field: str, value: Any) -> None:
    """The error's field is the first one that is wrong."""
    with pytest.raises(MalformedPayloadError) as raised:
        decode_json(written(**{field: value}))
    assert raised.value.field == field


@pytest.mark.parametrize("value", ["NaN", "1e999", "Infinity", '"x"', "true", "9" * 400])
def test_a_weight_is_a_finite_number(value: str) -> None:
    """Neither JSON's own limits nor a huge integer let an infinity in."""
    payload = written(topics={"a": 0.5}).replace(b"0.5", value.encode())
    with pytest.raises(MalformedPayloadError):
        decode_json(payload)


def test_an_unknown_field_is_refused_and_shown_safely() -> None:
    """A misspelt field is an error, and its name cannot break a log line."""
    with pytest.raises(MalformedPayloadError) as raised:
        decode_json(written(**{"titel\n" + "x" * 99: 1}))
    assert raised.value.field == "titel?" + "x" * 34


@pytest.mark.parametrize(
    "payload",
    [
        b"{",
        b"{}{}",
        b"[]",
        b"\xef\xbb\xbf{}",
        b'{"title":"\xff"}',
        b'{"title":"\\ud800"}',
        b'{"topics":' + b"[" * 200_000,
        b'{"a":' * 100_000,
        b"",
    ],
)
def test_what_is_no_json_object_is_malformed(payload: bytes) -> None:
    """Broken text, other documents and deep nesting all end as MalformedPayloadError."""
    with pytest.raises(MalformedPayloadError):
        decode_json(payload)


def test_a_document_above_the_limit_is_refused() -> None:
    """The cap is looked at before the text."""
    with pytest.raises(PayloadTooLargeError):
        decode_json(b"{" + b" " * MAX_PAYLOAD_BYTES)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(sorted(ContentSubmitted.__dataclass_fields__)), JSON), st.booleans())
def test_any_document_gives_content_or_a_schema_error(fields: dict[str, Any], is_complete: bool) -> None:  # noqa: FBT001  - drawn
    """No JSON value in any field raises anything else."""
    document = (LEAST if is_complete else {}) | fields
    content = content_or_reason(json.dumps(document).encode())
    if isinstance(content, ContentSubmitted):
        assert decode(encode(content), ContentSubmitted) == content
    else:
        assert content == "malformed"


def content_or_reason(payload: bytes) -> ContentSubmitted | str:
    """The content, or the reason of the SchemaError; any other exception passes."""
    try:
        return decode(payload, ContentSubmitted)
    except SchemaError as error:
        return error.reason


def test_fixed_fields_are_hexadecimal_and_numbers_are_bounded() -> None:
    """Examples and tools write ids as digits, and numbers as far as every reader shows them."""
    schema = {
        "type": "record",
        "name": "EngagementEvent",
        "fields": [
            {"name": "event_id", "type": {"type": "fixed", "name": "EventId", "size": 2}},
            {
                "name": "arm",
                "type": {"type": "fixed", "name": "N", "size": 1, "logicalType": "decimal", "precision": 2},
            },
        ],
    }
    convert = compile_converter(schema, FromJson())
    for document in ({"event_id": "00", "arm": 1}, {"event_id": "zz"}, {"event_id": 5}, {"arm": 100}, {"arm": 1.0}):
        with pytest.raises(MalformedPayloadError):
            convert(document)
