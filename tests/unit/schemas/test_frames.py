"""Engagement frames: numpy's packing is what an Avro writer makes, and every legal frame is read right."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import fastavro
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import frames
from schemas.avsc import latest, shipped_versions, without_logical_types
from schemas.codec import MAX_PAYLOAD_BYTES, decode, encode, prefix_of
from schemas.directions import MAX_TIME_MS, MIN_TIME_MS
from schemas.errors import (
    FrameRangeError,
    MalformedPayloadError,
    PayloadTooLargeError,
    SchemaError,
    UnencodableMessageError,
    UnknownSchemaIdError,
    WrongMessageError,
)
from schemas.frames import EVENT_DTYPE, STRIDE_BYTES, EventFrame, decode_frame, encode_frame, new_events
from schemas.layout import CODE_FIELDS, RANGES, WIRE_NUMBERS
from schemas.messages import EngagementKind, EngagementRecorded, ModelFitted, NetworkClass

pytestmark = pytest.mark.unit

AT_MS = 1_767_603_600_000
SCHEMA = latest(shipped_versions())["EngagementRecorded"].schema
PLAIN = fastavro.parse_schema(without_logical_types(SCHEMA))
FIRST_SIX_BYTES_MS, FIRST_SEVEN_BYTES_MS = 2**34, 2**41

TIMES = st.one_of(
    st.integers(FIRST_SIX_BYTES_MS, FIRST_SEVEN_BYTES_MS - 1),
    st.integers(MIN_TIME_MS, MAX_TIME_MS),
    st.sampled_from([0, -1, 63, 64, FIRST_SIX_BYTES_MS - 1, FIRST_SEVEN_BYTES_MS, MIN_TIME_MS, MAX_TIME_MS]),
    st.sampled_from([-FIRST_SIX_BYTES_MS, -FIRST_SIX_BYTES_MS - 1, -FIRST_SEVEN_BYTES_MS]),
)


def event_rows(times: st.SearchStrategy[int] = TIMES) -> st.SearchStrategy[frames.Events]:
    """Arrays of events whose fields reach both ends of their ranges."""
    columns = {name: st.integers(*bounds) | st.sampled_from([*bounds, 0]) for name, bounds in RANGES.items()} | {
        "occurred_at": times,
        "event_id": st.binary(min_size=16, max_size=16),
    }
    names = EVENT_DTYPE.names or ()
    row = st.tuples(*(columns[name] for name in names))

    def array(rows: list[tuple[Any, ...]]) -> frames.Events:
        events = new_events(len(rows))
        for name, column in zip(names, zip(*rows, strict=True), strict=False):
            events[name] = [list(cell) for cell in column] if name == "event_id" else list(column)
        return events

    return st.lists(row, max_size=5).map(array)


def by_fastavro(recorded_by: str, recorded_at_ms: int, events: frames.Events) -> bytes:
    """The payload as fastavro writes it from the published schema, numbers as big-endian bytes."""
    symbols = {"kind": frames.KINDS, "verdict": frames.VERDICTS, "agent": frames.AGENTS, "network": frames.NETWORKS}
    sizes = {"rule": 2, "arm": 1, "flags": 2, "channel_id": 4, "link": 2}
    rows = []
    for event in events:
        row: dict[str, Any] = {"event_id": event["event_id"].tobytes(), "occurred_at": int(event["occurred_at"])}
        row |= {name: str(symbols[name][event[name]]) for name in CODE_FIELDS}
        row |= {name: int(event[name]).to_bytes(sizes.get(name, 8), "big", signed=True) for name in WIRE_NUMBERS}
        rows.append(row)
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PLAIN, {"recorded_by": recorded_by, "recorded_at": recorded_at_ms, "events": rows})
    return prefix_of(EngagementRecorded.schema_id) + out.getvalue()


def same(frame: EventFrame, recorded_by: str, recorded_at_ms: int, events: frames.Events) -> bool:
    """Whether a decoded frame is what was encoded."""
    return (frame.recorded_by, frame.recorded_at_ms) == (recorded_by, recorded_at_ms) and np.array_equal(
        frame.events, events
    )


NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=80)


@given(NAMES, TIMES, event_rows())
def test_a_frame_is_byte_equal_to_what_fastavro_writes(name: str, at_ms: int, events: frames.Events) -> None:
    """Any Avro reader reads our frames, because no byte differs."""
    assert encode_frame(name, at_ms, events) == by_fastavro(name, at_ms, events)


@given(NAMES, TIMES, event_rows())
def test_a_frame_round_trips(name: str, at_ms: int, events: frames.Events) -> None:
    """Every value within the ranges comes back."""
    assert same(decode_frame(encode_frame(name, at_ms, events)), name, at_ms, events)


@given(event_rows(st.integers(FIRST_SIX_BYTES_MS, FIRST_SEVEN_BYTES_MS - 1)))
def test_frames_of_our_time_take_the_fast_way(events: frames.Events) -> None:
    """Six-byte times are read by numpy, never by the slow way."""
    payload = encode_frame("collector", AT_MS, events)
    assert frames._decode_constant_stride(payload) is not None


def test_times_that_cancel_out_in_length_are_not_misread() -> None:
    """A frame with a time of 1970 and one of 2046 has the length of a constant stride, and is read right."""
    events = new_events(3)
    events["occurred_at"] = [FIRST_SIX_BYTES_MS - 1, FIRST_SEVEN_BYTES_MS + 10**11, AT_MS]
    events["run_id"] = [1, 2, 3]
    payload = encode_frame("collector", AT_MS, events)
    assert len(payload) == len(encode_frame("collector", AT_MS, new_events_at(AT_MS, 3)))
    assert frames._decode_constant_stride(payload) is None
    assert same(decode_frame(payload), "collector", AT_MS, events)


def test_a_stride_is_69_bytes_in_one_positive_block() -> None:
    """The published width: 16 + 6 + 4 + 43 bytes of numbers, then the end of the array."""
    one, two = (encode_frame("c", AT_MS, new_events_at(AT_MS, count)) for count in (1, 2))
    assert (STRIDE_BYTES, len(two) - len(one)) == (69, 69)
    assert encode_frame("c", AT_MS, new_events(0))[-1:] == b"\x00"


@given(event_rows(), st.booleans(), st.integers(1, 3))
def test_any_legal_block_layout_is_read(events: frames.Events, with_sizes: bool, per_block: int) -> None:  # noqa: FBT001  - drawn
    """Other writers may use several blocks, and negative counts with byte sizes."""
    from schemas.varint import write_long

    head = encode_frame("other", AT_MS, new_events(0))[:-1]
    payload = head
    for start in range(0, len(events), per_block):
        block = events[start : start + per_block]
        body = encode_frame("other", AT_MS, block)[len(head) + 1 : -1]
        payload += write_long(-len(block)) + write_long(len(body)) if with_sizes else write_long(len(block))
        payload += body
    assert same(decode_frame(payload + b"\x00"), "other", AT_MS, events)


@given(event_rows(), st.data())
def test_damaged_frames_raise_only_schema_errors_and_both_ways_agree(
    events: frames.Events, draws: st.DataObject
) -> None:
    """The fast way never reads what the slow way reads differently."""
    payload = bytearray(encode_frame("collector", AT_MS, events))
    for _ in range(draws.draw(st.integers(0, 3))):
        payload[draws.draw(st.integers(0, len(payload) - 1))] = draws.draw(st.integers(0, 255))
    damaged = bytes(payload[: draws.draw(st.integers(0, len(payload)) | st.just(len(payload)))])
    damaged += draws.draw(st.just(b"") | st.binary(max_size=4))
    fast, slow = outcome(decode_frame, damaged), outcome(frames._decode_any_layout, damaged)
    if isinstance(fast, EventFrame) and isinstance(slow, EventFrame):
        assert same(slow, fast.recorded_by, fast.recorded_at_ms, fast.events)
    else:
        assert fast == slow
        assert fast in ("malformed", "unknown_schema_id", "wrong_message")


@pytest.mark.parametrize("field", CODE_FIELDS)
def test_an_index_without_a_symbol_is_malformed(field: str) -> None:
    """The fast way lets no code through that has no member."""
    start = len(encode_frame("c", AT_MS, new_events_at(AT_MS, 1))) - STRIDE_BYTES - 1
    place = start + 16 + 6 + CODE_FIELDS.index(field)
    payload = bytearray(encode_frame("c", AT_MS, new_events_at(AT_MS, 1)))
    assert payload[place] == 0
    payload[place] = 2 * (RANGES[field][1] + 1)
    with pytest.raises(MalformedPayloadError):
        decode_frame(bytes(payload))
    payload[place] = 1  # a negative index
    assert frames._decode_constant_stride(bytes(payload)) is None


def test_an_array_without_its_end_is_malformed() -> None:
    """The byte after the last event is the end of the array, not a count."""
    payload = encode_frame("c", AT_MS, new_events_at(AT_MS, 2))
    with pytest.raises(MalformedPayloadError):
        decode_frame(payload[:-1] + b"\x02")


def outcome(read: Callable[[bytes], EventFrame], payload: bytes) -> EventFrame | str:
    """The frame, or the reason of the SchemaError; any other exception passes."""
    try:
        return read(payload)
    except SchemaError as error:
        return error.reason


@given(event_rows())
def test_the_message_of_a_frame_has_the_same_numbers(events: frames.Events) -> None:
    """Decode gives ints for the fixed numbers, and encode the same bytes again."""
    payload = encode_frame("collector", AT_MS, events)
    message = decode(payload, EngagementRecorded)
    assert [event.run_id for event in message.events] == events["run_id"].tolist()
    assert [event.arm for event in message.events] == events["arm"].tolist()
    assert encode(message) == payload


@pytest.mark.parametrize("field", [name for name in WIRE_NUMBERS if name != "arm"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_number_beyond_its_decimal_is_refused(field: str, side: int) -> None:
    """What another reader would round is never written."""
    events = new_events(3)
    events[field][1] = RANGES[field][side]
    assert same(decode_frame(encode_frame("c", AT_MS, events)), "c", AT_MS, events)
    events[field][1] += 1 if side else -1
    with pytest.raises(FrameRangeError) as raised:
        encode_frame("c", AT_MS, events)
    assert (raised.value.field, raised.value.reason) == (field, "frame_range")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("arm", 100),
        ("kind", 11),
        ("verdict", 3),
        ("network", 255),
        ("occurred_at", MAX_TIME_MS + 1),
        ("occurred_at", MIN_TIME_MS - 1),
        ("occurred_at", -(2**63)),
        ("occurred_at", 2**63 - 1),
    ],
)
def test_codes_and_times_are_bounded(field: str, value: int) -> None:
    """An index without a symbol and a time without a year are refused."""
    events = new_events_at(AT_MS, 2)
    events[field][1] = value
    with pytest.raises(FrameRangeError):
        encode_frame("c", AT_MS, events)


@pytest.mark.parametrize(
    ("field", "value"), [("channel_id", 2**32 + 1), ("link", 65_537), ("kind", 257), ("arm", -300)]
)
def test_wider_numbers_never_wrap(field: str, value: int) -> None:
    """A column wider than the frame's is checked before it is narrowed."""
    wide = wide_events(2)
    assert len(decode_frame(encode_frame("c", AT_MS, wide)).events) == 2
    wide[field][1] = value
    with pytest.raises(FrameRangeError) as raised:
        encode_frame("c", AT_MS, wide)
    assert raised.value.field == field


def test_a_foreign_dtype_must_have_every_field_in_its_kind() -> None:
    """A missing column, floats and short ids are refused by name."""
    with pytest.raises(UnencodableMessageError) as raised:
        encode_frame("c", AT_MS, np.zeros(1, dtype=[("run_id", "i8")]))
    assert raised.value.detail == "is missing"
    for name, kind in (("run_id", "f8"), ("event_id", "S8")):
        fields = [(field, kind if field == name else wide_type(field)) for field in EVENT_DTYPE.names or ()]
        with pytest.raises(UnencodableMessageError) as raised:
            encode_frame("c", AT_MS, np.zeros(1, dtype=fields))
        assert raised.value.field == name


def test_joined_and_strided_arrays_are_encoded_alike() -> None:
    """Numpy's concatenate and slices keep the dtype's promise."""
    events = new_events_at(AT_MS, 4)
    events["run_id"] = range(4)
    joined = np.concatenate((events[:2], events[2:]))
    assert joined.dtype == EVENT_DTYPE
    assert encode_frame("c", AT_MS, joined) == encode_frame("c", AT_MS, events)
    assert decode_frame(encode_frame("c", AT_MS, events[::2])).events["run_id"].tolist() == [0, 2]


@pytest.mark.parametrize("name", ["a\x00b", "\ud800"])
def test_the_recorder_is_text(name: str) -> None:
    """NUL and lone surrogates are refused on the way out."""
    with pytest.raises(UnencodableMessageError):
        encode_frame(name, AT_MS, new_events(1))


def test_nul_in_the_recorder_is_malformed() -> None:
    """And on the way in."""
    payload = encode_frame("axb", AT_MS, new_events_at(AT_MS, 1)).replace(b"axb", b"a\x00b")
    with pytest.raises(MalformedPayloadError):
        decode_frame(payload)


@pytest.mark.parametrize("at_ms", [MIN_TIME_MS - 1, MAX_TIME_MS + 1])
def test_the_time_of_a_frame_is_a_time(at_ms: int) -> None:
    """A time beyond the calendar is refused both ways."""
    with pytest.raises(FrameRangeError):
        encode_frame("c", at_ms, new_events(0))
    with pytest.raises(MalformedPayloadError):
        decode_frame(by_fastavro("c", at_ms, new_events(0)))


def test_a_frame_above_the_limit_is_refused() -> None:
    """One record holds at most 1 MB: 14,492 events of 69 bytes."""
    most = (MAX_PAYLOAD_BYTES - 30) // STRIDE_BYTES
    assert len(decode_frame(encode_frame("c", AT_MS, new_events_at(AT_MS, most))).events) == most
    with pytest.raises(PayloadTooLargeError):
        encode_frame("c", AT_MS, new_events_at(AT_MS, most + 1))
    with pytest.raises(PayloadTooLargeError):
        decode_frame(bytes(MAX_PAYLOAD_BYTES + 1))


def test_other_payloads_are_named() -> None:
    """A frame of another message, and one of no message, have their own reasons."""
    from datetime import UTC, datetime

    with pytest.raises(WrongMessageError):
        decode_frame(encode(ModelFitted(model_version=1, fitted_at=datetime(2026, 1, 1, tzinfo=UTC))))
    with pytest.raises(UnknownSchemaIdError):
        decode_frame(b"\x00\x00\x00\x03\xe7\x00")
    with pytest.raises(MalformedPayloadError):
        decode_frame(b"")


def test_indices_follow_the_symbols() -> None:
    """Index 0 is `unknown`, and the tables are each other's inverse."""
    assert frames.KIND_INDEX[EngagementKind.UNKNOWN] == 0
    assert [frames.KINDS[index] for index in frames.KIND_INDEX.values()] == list(EngagementKind)
    assert frames.NETWORKS[frames.NETWORK_INDEX[NetworkClass.PRIVATE]] is NetworkClass.PRIVATE
    assert (len(frames.VERDICT_INDEX), len(frames.AGENT_INDEX)) == (3, 6)


def new_events_at(at_ms: int, count: int) -> frames.Events:
    """Events of one time."""
    events = new_events(count)
    events["occurred_at"] = at_ms
    return events


def wide_type(field: str) -> str:
    """A column type that holds the field and more."""
    return "S16" if field == "event_id" else "i8"


def wide_events(count: int) -> frames.Events:
    """Events whose numbers are all 64 bits wide."""
    return np.zeros(count, dtype=[(field, wide_type(field)) for field in EVENT_DTYPE.names or ()])
