"""Payloads: every message survives the way there and back, and bad bytes raise nothing but SchemaError."""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import messages
from schemas.avsc import MessageVersion, latest, shipped_versions, without_logical_types
from schemas.codec import MAX_PAYLOAD_BYTES, Codec, decode, encode, prefix_of, read_value, write_value
from schemas.errors import (
    MalformedPayloadError,
    PayloadTooLargeError,
    SchemaError,
    UnencodableMessageError,
    UnknownSchemaIdError,
    WrongMessageError,
)
from schemas.messages import ContentReady, ContentSubmitted, DeliveryRequested, Lane, ModelFitted, PublicationChanged

pytestmark = pytest.mark.unit

AT = datetime(2026, 1, 5, 9, tzinfo=UTC)
NEWEST = latest(shipped_versions())
MESSAGES = sorted(messages.MESSAGES.values(), key=lambda cls: cls.schema_id)


def values_of(schema: Any, named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """A strategy of the Python values that a schema's converter takes, up to the limits of each type."""
    if isinstance(schema, list):
        (branch,) = (part for part in schema if part != "null")
        return st.none() | values_of(branch, named)
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    if "name" in schema:
        named[schema["name"]] = schema
    return STRATEGIES[schema.get("logicalType", schema["type"])](schema, named)


def records(schema: dict[str, Any], named: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Dataclasses of a record."""
    columns = {field["name"]: values_of(field["type"], named) for field in schema["fields"]}
    return st.builds(messages.RECORDS[schema["name"]], **columns)


def moments() -> st.SearchStrategy[datetime]:
    """Aware times of whole milliseconds, to both ends of the calendar."""
    naive = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31))  # noqa: DTZ001  - made aware in the next line
    return naive.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000, tzinfo=UTC))


STRATEGIES: dict[str, Callable[[Any, dict[str, Any]], st.SearchStrategy[Any]]] = {
    "record": records,
    "enum": lambda schema, _: st.sampled_from(messages.ENUMS[schema["name"]]),
    "fixed": lambda schema, _: st.binary(min_size=schema["size"], max_size=schema["size"]),
    "decimal": lambda schema, _: st.integers(-(10 ** schema["precision"]) + 1, 10 ** schema["precision"] - 1),
    "array": lambda schema, named: st.lists(values_of(schema["items"], named), max_size=3).map(tuple),
    "map": lambda schema, named: st.dictionaries(texts(), values_of(schema["values"], named), max_size=3),
    "timestamp-millis": lambda *_: moments(),
    "string": lambda *_: texts(),
    "boolean": lambda *_: st.booleans(),
    "int": lambda *_: st.integers(-(2**31), 2**31 - 1),
    "long": lambda *_: st.integers(-(2**63), 2**63 - 1),
    "float": lambda *_: st.floats(allow_nan=False, allow_infinity=False, width=32),
    "double": lambda *_: st.floats(allow_nan=False, allow_infinity=False),
}


def texts() -> st.SearchStrategy[str]:
    """Text that PostgreSQL can store."""
    return st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


def outcome(payload: bytes, message_type: type[messages.Message]) -> str:
    """What becomes of a payload: `decoded`, or the reason of its SchemaError; any other exception passes."""
    try:
        decode(payload, message_type)
    except SchemaError as error:
        return error.reason
    return "decoded"


ANY_MESSAGE = st.sampled_from(MESSAGES).flatmap(lambda cls: values_of(NEWEST[cls.__name__].schema, {}))
FITTED = ModelFitted(model_version=5, fitted_at=AT)
READY = ContentReady(batch_id=1, items=())


@given(ANY_MESSAGE)
def test_every_message_round_trips(message: messages.Message) -> None:
    """What is encoded decodes to the same message."""
    assert decode(encode(message), type(message)) == message


@given(ANY_MESSAGE, st.data())
def test_damaged_payloads_raise_only_schema_errors(message: messages.Message, draws: st.DataObject) -> None:
    """However a payload is cut, changed or lengthened, decode gives a message or a SchemaError with a reason."""
    payload = bytearray(encode(message))
    for _ in range(draws.draw(st.integers(1, 4))):
        place = draws.draw(st.integers(0, len(payload) - 1))
        payload[place] = draws.draw(st.integers(0, 255))
    cut = draws.draw(st.integers(0, len(payload)))
    damaged = bytes(payload[:cut]) + draws.draw(st.binary(max_size=8))
    assert outcome(damaged, type(message)) in ("decoded", "malformed", "unknown_schema_id", "wrong_message")


@given(st.sampled_from(MESSAGES), st.binary(max_size=200))
def test_random_bytes_behind_a_right_prefix_raise_only_schema_errors(
    message_type: type[messages.Message], noise: bytes
) -> None:
    """Bytes that are no Avro value at all end as a SchemaError too."""
    assert outcome(prefix_of(message_type.schema_id) + noise, message_type) in ("decoded", "malformed")


@settings(max_examples=30)  # each message is cut at every byte
@given(ANY_MESSAGE)
def test_every_cut_is_refused(message: messages.Message) -> None:
    """No proper beginning of a payload decodes."""
    payload = encode(message)
    for end in range(len(payload)):
        with pytest.raises(SchemaError):
            decode(payload[:end], type(message))


@pytest.mark.parametrize(
    ("payload", "error", "reason"),
    [
        (b"", MalformedPayloadError, "malformed"),
        (b"\x00\x00\x00\x00", MalformedPayloadError, "malformed"),
        (b"\x01" + encode(FITTED)[1:], MalformedPayloadError, "malformed"),
        (b"{}", MalformedPayloadError, "malformed"),
        (encode(FITTED) + b"\x00", MalformedPayloadError, "malformed"),
        (encode(FITTED)[:-1], MalformedPayloadError, "malformed"),
        (b"\x00\x7f\xff\xff\xff\x00", UnknownSchemaIdError, "unknown_schema_id"),
        (encode(READY), WrongMessageError, "wrong_message"),
        (b"\x00" * (MAX_PAYLOAD_BYTES + 1), PayloadTooLargeError, "too_large"),
    ],
)
def test_each_fault_has_its_error_and_reason(payload: bytes, error: type[SchemaError], reason: str) -> None:
    """The DLQ's reason tells a foreign schema from broken bytes and from a record of another topic."""
    with pytest.raises(error) as raised:
        decode(payload, ModelFitted)
    assert (type(raised.value), raised.value.reason) == (error, reason)


def test_a_time_beyond_the_calendar_is_malformed() -> None:
    """A long that is no time of the years 1 to 9999 raises nothing but MalformedPayloadError."""
    for moment_ms in (2**62, -(2**62)):
        payload = write_value("ModelFitted", {"model_version": 1, "fitted_at": moment_ms})
        with pytest.raises(MalformedPayloadError) as raised:
            decode(payload, ModelFitted)
        assert raised.value.field == "fitted_at"


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("PublicationChanged", {"publication_id": 1, "version": 1, "status": "a\x00b"}, "status"),
        ("PublicationChanged", {"publication_id": 1, "version": 2**31, "status": "done"}, "version"),
    ],
)
def test_foreign_values_are_checked_after_avro(name: str, value: dict[str, Any], field: str) -> None:
    """NUL in a text and an int of more than 32 bits are legal bytes, and refused."""
    with pytest.raises(MalformedPayloadError) as raised:
        decode(write_value(name, value), messages.MESSAGES[name])
    assert raised.value.field == field


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_refused_both_ways(number: float) -> None:
    """NaN and infinities neither leave nor enter."""
    frame = delivery(scores=((0.5, number),), content_ids=((1, 2),))
    with pytest.raises(UnencodableMessageError):
        encode(frame)
    value = read_value(encode(delivery(scores=((0.5, 0.25),), content_ids=((1, 2),))), DeliveryRequested)
    value["scores"][0][1] = number
    with pytest.raises(MalformedPayloadError) as raised:
        decode(write_value("DeliveryRequested", value), DeliveryRequested)
    assert raised.value.field == "scores[][]"


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (ModelFitted(model_version=2**63, fitted_at=AT), "model_version"),
        (ModelFitted(model_version=True, fitted_at=AT), "model_version"),
        (ModelFitted(model_version=1.0, fitted_at=AT), "model_version"),  # type: ignore[arg-type]
        (ModelFitted(model_version=1, fitted_at=AT.replace(tzinfo=None)), "fitted_at"),
        (PublicationChanged(publication_id=1, version=1, status="\ud800"), "status"),
        (PublicationChanged(publication_id=1, version=1, status=None), "status"),  # type: ignore[arg-type]
        (ContentReady(batch_id=1, items="items"), "items"),  # type: ignore[arg-type]
        (ContentReady(batch_id=1, items=5), "items"),  # type: ignore[arg-type]
        (ContentReady(batch_id=1, items=(5,)), "items[]"),  # type: ignore[arg-type]
    ],
)
def test_a_message_that_does_not_fit_is_never_sent(message: messages.Message, field: str) -> None:
    """The error names the field, before a byte leaves."""
    with pytest.raises(UnencodableMessageError) as raised:
        encode(message)
    assert raised.value.field == field


def test_a_message_above_the_limit_is_never_sent() -> None:
    """The cap holds on the way out as on the way in."""
    with pytest.raises(PayloadTooLargeError):
        encode(PublicationChanged(publication_id=1, version=1, status="s" * MAX_PAYLOAD_BYTES))


def test_columns_may_be_numpy_arrays() -> None:
    """Planners hand over their arrays as they are."""
    plain = delivery(destinations=(1, 2**40), arms=(0, 1), content_ids=((7, 9),), scores=((0.5, 0.25),))
    arrays = delivery(
        destinations=np.array([1, 2**40]),
        arms=np.array([0, 1], np.int16),
        content_ids=np.array([[7, 9]]),
        scores=np.array([[0.5, 0.25]], np.float32),
    )
    assert encode(arrays) == encode(plain)


@pytest.mark.parametrize(
    "columns",
    [
        {"arms": (0, 2**31)},
        {"destinations": (2**63,)},
        {"destinations": ("1",)},
        {"destinations": "12"},
        {"scores": ((1e39,),)},
        {"scores": (("0.5",),)},
    ],
)
def test_columns_are_checked_whole(columns: dict[str, Any]) -> None:
    """One bad number in a column stops the frame."""
    with pytest.raises(UnencodableMessageError):
        encode(delivery(**columns))


def test_times_are_utc_milliseconds_rounded_down() -> None:
    """The same instant in any zone is the same bytes."""
    zone = timezone(timedelta(hours=2))
    here = datetime(2026, 1, 5, 11, 0, 0, 1999, tzinfo=zone)
    decoded = decode(encode(ModelFitted(model_version=1, fitted_at=here)), ModelFitted)
    assert decoded.fitted_at == datetime(2026, 1, 5, 9, 0, 0, 1000, tzinfo=UTC)
    assert decoded.fitted_at.tzinfo is UTC


def test_an_older_version_is_read_with_the_defaults_of_the_newest() -> None:
    """Fields that the writer did not know come from their defaults, as the types that messages have."""
    newest = NEWEST["EngagementRecorded"]
    events = next(field for field in newest.schema["fields"] if field["name"] == "events")["type"]["items"]
    kept = [field for field in events["fields"] if field["name"] in ("event_id", "occurred_at", "kind", "rule", "arm")]
    added = [dict(field) for field in events["fields"] if field not in kept]
    for field in added:
        is_enum = isinstance(field["type"], dict) and field["type"]["type"] == "enum"
        size = {"flags": 2, "channel_id": 4, "link": 2}.get(field["name"], 8)
        field["default"] = "unknown" if is_enum else "\u0000" * (size - 1) + "\u00ff"
    older = engagement(newest.schema, kept, schema_id=6, version=1)
    newer = engagement(newest.schema, kept + added, schema_id=7, version=2)
    event = {"event_id": bytes(16), "occurred_at": 5, "kind": "opened", "rule": b"\x00\x04", "arm": b"\xff"}
    out = io.BytesIO(prefix_of(6))
    out.seek(0, io.SEEK_END)
    schema = fastavro.parse_schema(without_logical_types(older.schema))
    fastavro.schemaless_writer(out, schema, {"recorded_by": "c", "recorded_at": 0, "events": [event]})
    (read,) = Codec([older, newer]).decode(out.getvalue(), messages.EngagementRecorded).events
    assert (read.rule, read.arm, read.run_id, read.link) == (4, -1, 255, 255)
    assert (read.kind, read.verdict) == (messages.EngagementKind.OPENED, messages.Verdict.UNKNOWN)


def test_a_symbol_of_a_newer_writer_is_unknown() -> None:
    """An enum that grew elsewhere is read as `unknown`, never as an error."""
    newest = NEWEST["DeliveryRequested"]
    fields = [dict(field) for field in newest.schema["fields"]]
    (lane,) = (field for field in fields if field["name"] == "lane")
    lane["type"] = {**lane["type"], "symbols": [*lane["type"]["symbols"], "express"]}
    foreign = dataclasses.replace(newest, version=0, schema_id=99, schema={**newest.schema, "fields": fields})
    both = Codec([foreign, newest])
    value = read_value(encode(delivery()), DeliveryRequested) | {"lane": "express"}
    payload = Codec([foreign]).write_value("DeliveryRequested", value)
    assert both.decode(payload, DeliveryRequested).lane is Lane.UNKNOWN


def test_another_avro_reader_reads_the_value() -> None:
    """The bytes after the prefix are plain Avro, dates and all."""
    schema = fastavro.parse_schema(NEWEST["ModelFitted"].schema)
    assert fastavro.schemaless_reader(io.BytesIO(encode(FITTED)[5:]), schema, None) == {
        "model_version": 5,
        "fitted_at": AT,
    }


def test_errors_say_what_to_do_and_never_quote_the_payload() -> None:
    """The text is the docstring with the attributes."""
    with pytest.raises(WrongMessageError) as raised:
        decode(encode(READY), ModelFitted)
    assert str(raised.value) == (
        "The schema id belongs to another message than this topic carries; mend the producer."
        " (expected='ModelFitted', found='ContentReady')"
    )
    assert str(SchemaError()) == (SchemaError.__doc__ or "")


def test_values_of_the_wrong_kind_do_not_reach_the_wire() -> None:
    """write_value turns whatever fastavro raises into UnencodableMessageError."""
    with pytest.raises(UnencodableMessageError):
        write_value("ModelFitted", {"model_version": "x", "fitted_at": 0})


def test_content_that_is_not_json_is_avro() -> None:
    """Only content may be JSON: `{` on any other topic is malformed."""
    with pytest.raises(MalformedPayloadError):
        decode(b'{"model_version": 1}', ModelFitted)
    with pytest.raises(MalformedPayloadError) as raised:
        decode(b'{"source": 1}', ContentSubmitted)
    assert raised.value.field


def delivery(**columns: Any) -> DeliveryRequested:
    """A frame of one delivery, with some columns replaced."""
    defaults: dict[str, Any] = {"destinations": (1,), "arms": (0,), "content_ids": ((7,),), "scores": ((0.5,),)}
    return DeliveryRequested(
        run_id=1,
        publication_id=1,
        channel_id=1,
        shard=0,
        chunk=0,
        lane=Lane.BULK,
        template_id=1,
        template_version=1,
        **(defaults | columns),
    )


def engagement(schema: dict[str, Any], fields: list[Any], *, schema_id: int, version: int) -> MessageVersion:
    """A version of EngagementRecorded whose events have these fields."""
    columns = [dict(field) for field in schema["fields"]]
    (events,) = (column for column in columns if column["name"] == "events")
    numbers = {8: {"type": "fixed", "name": "Number8", "size": 8, "logicalType": "decimal", "precision": 18}}
    numbers[4] = {**numbers[8], "name": "Number4", "size": 4, "precision": 9}
    resolved, seen = [], set()
    for field in fields:
        kind = field["type"]
        name = kind if isinstance(kind, str) else kind.get("name", "")
        first = name not in seen
        seen.add(name)
        if first and isinstance(kind, str):
            kind = numbers[int(name.removeprefix("Number"))]
        resolved.append({**field, "type": kind if first or not name else name})
    events["type"] = {"type": "array", "items": {**events["type"]["items"], "fields": resolved}}
    return MessageVersion(
        message="EngagementRecorded", version=version, schema_id=schema_id, schema={**schema, "fields": columns}
    )
