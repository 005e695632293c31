"""Engagement frames as numpy arrays: constant-stride packing, byte-equal to what an Avro writer makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from schemas.codec import MAX_PAYLOAD_BYTES, PREFIX_BYTES, prefix_of, read_value, write_value
from schemas.directions import MAX_TIME_MS, MIN_TIME_MS
from schemas.errors import FrameRangeError, MalformedPayloadError, PayloadTooLargeError, UnencodableMessageError
from schemas.layout import CODE_FIELDS, EVENT_DTYPE, FORBIDDEN_BITS, GROUPED_DTYPE, RANGES, WIRE_DTYPE, WIRE_NUMBERS
from schemas.messages import AgentFamily, EngagementKind, EngagementRecorded, NetworkClass, Verdict
from schemas.varint import read_long, write_long

__all__ = [
    "AGENTS",
    "AGENT_INDEX",
    "EVENT_DTYPE",
    "KINDS",
    "KIND_INDEX",
    "NETWORKS",
    "NETWORK_INDEX",
    "STRIDE_BYTES",
    "VERDICTS",
    "VERDICT_INDEX",
    "EventFrame",
    "Events",
    "decode_frame",
    "encode_frame",
    "new_events",
]

Events: TypeAlias = npt.NDArray[np.void]

KINDS: tuple[EngagementKind, ...] = tuple(EngagementKind)
VERDICTS: tuple[Verdict, ...] = tuple(Verdict)
AGENTS: tuple[AgentFamily, ...] = tuple(AgentFamily)
NETWORKS: tuple[NetworkClass, ...] = tuple(NetworkClass)
KIND_INDEX: dict[EngagementKind, int] = {kind: index for index, kind in enumerate(KINDS)}
VERDICT_INDEX: dict[Verdict, int] = {verdict: index for index, verdict in enumerate(VERDICTS)}
AGENT_INDEX: dict[AgentFamily, int] = {agent: index for index, agent in enumerate(AGENTS)}
NETWORK_INDEX: dict[NetworkClass, int] = {network: index for index, network in enumerate(NETWORKS)}

STRIDE_BYTES: int = WIRE_DTYPE.itemsize
"""Encoded width of an event whose time is a varint of six bytes: 1970-07-18 to 2039-09-07."""

_PREFIX = prefix_of(EngagementRecorded.schema_id)
_SHIFTS = np.arange(0, 42, 7, dtype=np.int64)
_WEIGHTS = 2.0**_SHIFTS
_SEVEN_BITS = np.int64(0x7F)
_CONTINUES = np.array([0x80] * 5 + [0], dtype=np.uint8)
_MAX_CODES = np.array([RANGES[name][1] for name in CODE_FIELDS], dtype=np.uint8)
_ENUMS = {"kind": KINDS, "verdict": VERDICTS, "agent": AGENTS, "network": NETWORKS}


@dataclass(frozen=True, slots=True, eq=False)
class EventFrame:
    """A decoded frame: `recorded_at_ms` since 1970, `events` an array of EVENT_DTYPE in the order of recording."""

    recorded_by: str
    recorded_at_ms: int
    events: Events


def new_events(count: int) -> Events:
    """`count` events with every field 0, which means none or unknown."""
    return np.zeros(count, dtype=EVENT_DTYPE)


def encode_frame(recorded_by: str, recorded_at_ms: int, events: Events) -> bytes:
    """The payload of a frame; raises FrameRangeError, UnencodableMessageError or PayloadTooLargeError.

    `events` may also be of a dtype with the same field names and wider numbers: they are checked.
    """
    name = _encoded_name(recorded_by)
    if not MIN_TIME_MS <= recorded_at_ms <= MAX_TIME_MS:
        raise FrameRangeError("recorded_at", MIN_TIME_MS, MAX_TIME_MS)
    rows = np.ascontiguousarray(events if events.dtype == EVENT_DTYPE else _narrowed(events))
    grouped = rows.view(GROUPED_DTYPE)
    _check_ranges(rows, grouped)
    head = _PREFIX + write_long(len(name)) + name + write_long(int(recorded_at_ms))
    if not len(rows):
        return head + b"\x00"
    zigzag = (rows["occurred_at"] << 1) ^ (rows["occurred_at"] >> 63)
    sevens = zigzag[:, None] >> _SHIFTS
    if sevens[:, 5].min() < 1 or sevens[:, 5].max() > _SEVEN_BITS:
        return _encode_any_time(recorded_by, recorded_at_ms, rows)
    wire = np.empty(len(rows), dtype=WIRE_DTYPE)
    wire["event_id"] = rows["event_id"]
    wire["occurred_at"] = sevens.astype(np.uint8) & 0x7F | _CONTINUES
    wire["codes"] = grouped["codes"] << 1
    for field in WIRE_NUMBERS:
        wire[field] = rows[field]
    payload = b"".join((head, write_long(len(rows)), wire.tobytes(), b"\x00"))
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(len(payload), MAX_PAYLOAD_BYTES)
    return payload


def decode_frame(payload: bytes) -> EventFrame:
    """The frame of a payload; raises SchemaError, after which the caller buries the record.

    A frame of constant stride is read by numpy; any other that Avro allows is read by fastavro, slower.
    """
    frame = _decode_constant_stride(payload)
    return _decode_any_layout(payload) if frame is None else frame


def _decode_constant_stride(payload: bytes) -> EventFrame | None:
    """None unless every byte is where the stride says, so that the reader can never be out of step."""
    if payload[:PREFIX_BYTES] != _PREFIX or len(payload) > MAX_PAYLOAD_BYTES:
        return None
    try:
        size, start = read_long(payload, PREFIX_BYTES)
        name = payload[start : start + size].decode() if size >= 0 else "\x00"
        recorded_at_ms, start = read_long(payload, start + size)
        count, start = read_long(payload, start)
    except (IndexError, UnicodeDecodeError):
        return None
    if "\x00" in name or not MIN_TIME_MS <= recorded_at_ms <= MAX_TIME_MS:
        return None
    if count == 0 and start == len(payload):
        return EventFrame(name, recorded_at_ms, new_events(0))
    if count <= 0 or len(payload) != start + count * STRIDE_BYTES + 1 or payload[-1] != 0:
        return None
    events = unpacked(np.frombuffer(payload, WIRE_DTYPE, count, start))
    return None if events is None else EventFrame(name, recorded_at_ms, events)


def unpacked(wire: Events) -> Events | None:
    """The events of wire rows; None where a time has not six bytes or an enum not one, or no such symbol."""
    times = wire["occurred_at"]
    codes = wire["codes"] >> 1 | wire["codes"] << 7  # an odd byte (a negative index) becomes 128 or more
    if ((times & 0x80) != _CONTINUES).any() or (codes > _MAX_CODES).any():
        return None
    events = np.zeros(len(wire), dtype=EVENT_DTYPE)
    zigzag = ((times & 0x7F) @ _WEIGHTS).astype(np.int64)  # exact: below 2**42, a float holds 2**53
    events["occurred_at"] = (zigzag >> 1) ^ -(zigzag & 1)
    events["event_id"] = wire["event_id"]
    events.view(GROUPED_DTYPE)["codes"] = codes
    for field in WIRE_NUMBERS:
        events[field] = wire[field]
    return events


def _decode_any_layout(payload: bytes) -> EventFrame:
    value = read_value(payload, EngagementRecorded)
    rows = value["events"]
    if "\x00" in value["recorded_by"]:
        raise MalformedPayloadError("must not contain NUL", field="recorded_by")
    for field, moments in (
        ("recorded_at", [value["recorded_at"]]),
        ("occurred_at", [row["occurred_at"] for row in rows]),
    ):
        if moments and not MIN_TIME_MS <= min(moments) <= max(moments) <= MAX_TIME_MS:
            raise MalformedPayloadError("must be a time in the years 1 to 9999", field=field)
    events = new_events(len(rows))
    events["occurred_at"] = [row["occurred_at"] for row in rows]
    for field, symbols in _ENUMS.items():
        index = {str(symbol): number for number, symbol in enumerate(symbols)}
        events[field] = [index[row[field]] for row in rows]
    for field in ("event_id", *WIRE_NUMBERS):
        content = b"".join(_fixed(row[field]) for row in rows)
        events[field] = np.frombuffer(content, WIRE_DTYPE[field].base).reshape(events[field].shape)
    return EventFrame(value["recorded_by"], value["recorded_at"], events)


def _fixed(content: bytes | str) -> bytes:
    """Fastavro gives the default of a fixed as a str of the same code points."""
    return content.encode("latin-1") if isinstance(content, str) else content


def _encode_any_time(recorded_by: str, recorded_at_ms: int, rows: Events) -> bytes:
    columns: dict[str, list[Any]] = {"occurred_at": rows["occurred_at"].tolist()}
    for field, symbols in _ENUMS.items():
        columns[field] = [str(symbols[code]) for code in rows[field]]
    for field in ("event_id", *WIRE_NUMBERS):
        columns[field] = _cells(rows[field].astype(WIRE_DTYPE[field].base).tobytes(), WIRE_DTYPE[field].itemsize)
    events = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    value = {"recorded_by": recorded_by, "recorded_at": int(recorded_at_ms), "events": events}
    return write_value(EngagementRecorded.__name__, value)


def _cells(content: bytes, size: int) -> list[bytes]:
    return [content[start : start + size] for start in range(0, len(content), size)]


def _encoded_name(recorded_by: str) -> bytes:
    try:
        name = recorded_by.encode()
    except UnicodeEncodeError as error:
        raise UnencodableMessageError("must be valid Unicode", field="recorded_by") from error
    if b"\x00" in name:
        raise UnencodableMessageError("must not contain NUL", field="recorded_by")
    return name


def _narrowed(events: Events) -> Events:
    """The events in EVENT_DTYPE, after a check of each number against the width that it gets."""
    rows = new_events(len(events))
    for field in EVENT_DTYPE.names or ():
        if field not in (events.dtype.names or ()):
            raise UnencodableMessageError("is missing", field=field)
        column = events[field]
        if field == "event_id":
            column = _opaque(column)
        elif column.dtype.kind not in "iu" or column.ndim != 1:
            raise UnencodableMessageError("must be whole numbers", field=field)
        else:
            _check_column(field, column)
        rows[field] = column
    return rows


def _opaque(column: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    """Ids as rows of bytes, also from a column of S16 or V16."""
    size = EVENT_DTYPE["event_id"].itemsize
    if column.nbytes != size * len(column):
        raise UnencodableMessageError(f"must be {size} bytes", field="event_id")
    return np.frombuffer(column.tobytes(), np.uint8).reshape(-1, size)


def _check_ranges(rows: Events, grouped: Events) -> None:
    """One pass over the bits passes frames whose numbers are all far inside their ranges; others are looked at."""
    if not len(rows):
        return
    bits = np.bitwise_or.reduce(rows.view(np.int64).reshape(len(rows), -1), axis=0)
    if (bits & FORBIDDEN_BITS).any() or (grouped["codes"] > _MAX_CODES).any():
        for field in RANGES:
            _check_column(field, rows[field])


def _check_column(field: str, column: npt.NDArray[Any]) -> None:
    low, high = RANGES[field]
    if len(column) and not (low <= int(column.min()) and int(column.max()) <= high):
        raise FrameRangeError(field, low, high)
