"""Engagement events packed one by one as they come, byte-equal to what frames.encode_frame makes of them together."""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence
from typing import TypeAlias

from schemas.codec import prefix_of
from schemas.errors import FrameRangeError, UnencodableMessageError
from schemas.frames import AGENT_INDEX, KIND_INDEX, NETWORK_INDEX, VERDICT_INDEX
from schemas.layout import CODE_FIELDS, RANGES, WIRE_DTYPE, WIRE_NUMBERS
from schemas.messages import AgentFamily, EngagementKind, EngagementRecorded, NetworkClass, Verdict
from schemas.varint import write_long

__all__ = ["NUMBER_FIELDS", "Mark", "Numbers", "event_codes", "frame_head", "pack_alike", "pack_event", "pack_frame"]

EVENT_ID_BYTES = 16
_PREFIX = prefix_of(EngagementRecorded.schema_id)
# The widths of fixed decimals as struct spells them.
_FORMATS = {1: "b", 2: "h", 4: "i", 8: "q"}


Numbers: TypeAlias = tuple[int, int, int, int, int, int, int, int, int]
"""The numbers of an event in the order of NUMBER_FIELDS; 0 means none. A plain tuple: one is made of every hit."""

NUMBER_FIELDS = (
    "rule",
    "arm",
    "flags",
    "run_id",
    "publication_id",
    "channel_id",
    "destination",
    "content_id",
    "link",
)

Mark: TypeAlias = tuple[bytes, int]
"""The id of an event, 16 bytes, and its time, milliseconds since 1970."""


def _checked_layout() -> struct.Struct:
    """The struct of the numbers, made from the schema; raises where the schema has come to say something else."""
    if NUMBER_FIELDS != WIRE_NUMBERS or CODE_FIELDS != ("kind", "verdict", "agent", "network"):
        raise UnencodableMessageError("packs other fields than the schema has", field="events")
    return struct.Struct(">" + "".join(_FORMATS[WIRE_DTYPE[name].itemsize] for name in WIRE_NUMBERS))


_NUMBERS = _checked_layout()
# Behind id and time every field has one width.
_TAIL_BYTES = len(CODE_FIELDS) + _NUMBERS.size
_KIND_CODES = {kind: index << 1 for kind, index in KIND_INDEX.items()}


def event_codes(kind: EngagementKind, verdict: Verdict, agent: AgentFamily, network: NetworkClass) -> bytes:
    """The four enum bytes of an event, as the wire has them (zigzag: the index twice)."""
    return bytes((_KIND_CODES[kind], VERDICT_INDEX[verdict] << 1, AGENT_INDEX[agent] << 1, NETWORK_INDEX[network] << 1))


def pack_event(event_id: bytes, occurred_at_ms: int, codes: bytes, numbers: Numbers) -> bytes:
    """One event as the wire has it; `codes` of event_codes.

    Raises FrameRangeError or UnencodableMessageError for what an Avro reader would not show as it was meant.
    """
    rule, arm, flags, run_id, publication_id, channel_id, destination, content_id, link = numbers
    if (rule | flags | link) >> 13 or arm >> 6 or channel_id >> 29:
        _check(numbers)
    if (run_id | publication_id | destination | content_id) >> 59:
        _check(numbers)
    if len(event_id) != EVENT_ID_BYTES:
        raise UnencodableMessageError(f"must be {EVENT_ID_BYTES} bytes", field="event_id")
    return event_id + _time_of(occurred_at_ms) + codes + _NUMBERS.pack(*numbers)


def pack_alike(marks: Sequence[Mark], codes: bytes, numbers: Numbers) -> list[bytes]:
    """Pack events that differ by id and time alone, at least one, as pack_event does; raises as it does."""
    first = pack_event(*marks[0], codes, numbers)
    if len(marks) == 1:
        return [first]
    tail = first[-_TAIL_BYTES:]
    events = [event_id + _time_of(at_ms) + tail for event_id, at_ms in marks]
    if any(len(event_id) != EVENT_ID_BYTES for event_id, _ in marks):
        raise UnencodableMessageError(f"must be {EVENT_ID_BYTES} bytes", field="event_id")
    return events


def _time_of(at_ms: int) -> bytes:
    """The bytes of a time, without a loop for those of 1970-07-18 to 2039-09-07, which have six."""
    if 1 <= at_ms >> 34 <= 0x7F:  # noqa: PLR2004  - seven bits a byte, the eighth says that more follow
        low = at_ms << 1 & 0x3FFF
        return (low & 0x7F | low << 1 & 0x7F00 | 0x8080).to_bytes(2, "little") + _upper_of(at_ms >> 13)
    low, high = RANGES["occurred_at"]
    if not low <= at_ms <= high:
        raise FrameRangeError("occurred_at", low, high)
    return write_long(at_ms)


@functools.lru_cache(maxsize=1_024)
def _upper_of(rest: int) -> bytes:
    """The last four bytes of a time of six, by its units of 8.192 s."""
    return bytes((rest & 0x7F | 0x80, rest >> 7 & 0x7F | 0x80, rest >> 14 & 0x7F | 0x80, rest >> 21))


def frame_head(recorded_by: str) -> bytes:
    """The beginning of every frame of a recorder."""
    name = recorded_by.encode()
    if b"\x00" in name:
        raise UnencodableMessageError("must not contain NUL", field="recorded_by")
    return _PREFIX + write_long(len(name)) + name


def pack_frame(head: bytes, recorded_at_ms: int, events: Sequence[bytes]) -> bytes:
    """The payload of a frame of packed events; `head` of frame_head."""
    if not events:
        return head + write_long(recorded_at_ms) + b"\x00"
    return b"".join((head, write_long(recorded_at_ms), write_long(len(events)), *events, b"\x00"))


def _check(numbers: Numbers) -> None:
    """Compare each number with its own range: only the rare event whose numbers are large comes here."""
    for name, number in zip(NUMBER_FIELDS, numbers, strict=True):
        low, high = RANGES[name]
        if not low <= number <= high:
            raise FrameRangeError(name, low, high)
