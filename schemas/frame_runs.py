"""Many engagement frames decoded in one pass: what one record costs is then a few bytes of header."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from schemas.codec import MAX_PAYLOAD_BYTES, PREFIX_BYTES, prefix_of
from schemas.frames import STRIDE_BYTES, Events, new_events, unpacked
from schemas.layout import WIRE_DTYPE
from schemas.messages import EngagementRecorded

_PREFIX = prefix_of(EngagementRecorded.schema_id)
# A time of six bytes (1970-07-18 to 2039-09-07): seven bits a byte, the sixth ends it.
_TIME_BYTES = 6
_ENDS = np.array([0x80] * 5 + [0], dtype=np.uint8)
_SHIFTS = np.arange(0, 42, 7, dtype=np.int64)
# A writer's name is short and comes again with every frame; names of many writers are not kept.
_MAX_NAMES = 1_024
_names: set[bytes] = set()


class FrameRun(NamedTuple):
    """Frames one after another: how many events each has, when it was recorded (ms since 1970), and all the events."""

    counts: npt.NDArray[np.int64]
    recorded_at_ms: npt.NDArray[np.int64]
    events: Events


def decode_frames(payloads: Sequence[bytes | None]) -> FrameRun | None:
    """The frames of payloads, equal to `decode_frame` of each; None where one of them is not of constant stride.

    The caller then decodes them one by one, and learns which it is and whether it is poison.
    """
    counts, times, bodies = [], [], []
    for payload in payloads:
        found = _split(payload or b"")
        if found is None:
            return None
        count, time, body = found
        counts.append(count)
        times.append(time)
        bodies.append(body)
    wire_times = np.frombuffer(b"".join(times), np.uint8).reshape(-1, _TIME_BYTES)
    if ((wire_times & 0x80) != _ENDS).any():
        return None
    zigzag = ((wire_times & 0x7F).astype(np.int64) << _SHIFTS).sum(axis=1)
    wire = np.frombuffer(b"".join(bodies), WIRE_DTYPE)
    events = unpacked(wire) if len(wire) else new_events(0)
    if events is None:
        return None
    return FrameRun(np.array(counts, np.int64), (zigzag >> 1) ^ -(zigzag & 1), events)


def _split(payload: bytes) -> tuple[int, bytes, memoryview] | None:
    """(count, time, events) of a payload whose every part is where the stride says."""
    size = len(payload)
    if size < PREFIX_BYTES + 1 or size > MAX_PAYLOAD_BYTES or payload[:PREFIX_BYTES] != _PREFIX:
        return None
    length = payload[PREFIX_BYTES]
    start = PREFIX_BYTES + 1 + (length >> 1)
    place = start + _TIME_BYTES
    if length & 0x81 or size <= place or not _is_name(payload[PREFIX_BYTES + 1 : start]):
        return None
    first = payload[place]
    place += 1
    if first & 0x80:
        if size <= place or payload[place] & 0x80:
            return None
        first = first & 0x7F | payload[place] << 7
        place += 1
    count = first >> 1
    end = place + count * STRIDE_BYTES
    if first & 1 or size != end + (count > 0) or payload[-1]:
        return None
    return count, payload[start : start + _TIME_BYTES], memoryview(payload)[place:end]


def _is_name(name: bytes) -> bool:
    """Whether a writer's name is text without NUL."""
    if name in _names:
        return True
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    if b"\x00" in name:
        return False
    if len(_names) < _MAX_NAMES:
        _names.add(name)
    return True
