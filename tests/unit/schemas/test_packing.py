"""Events packed one by one are, byte for byte, what the frame's own encoder makes of them."""

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.directions import MAX_TIME_MS, MIN_TIME_MS
from schemas.errors import FrameRangeError, SchemaError, UnencodableMessageError
from schemas.frames import AGENTS, KINDS, NETWORKS, VERDICTS, decode_frame, encode_frame, new_events
from schemas.layout import RANGES, WIRE_NUMBERS
from schemas.packing import Numbers, event_codes, frame_head, pack_event, pack_frame

pytestmark = pytest.mark.unit

NO_NUMBERS: Numbers = (0, 0, 0, 0, 0, 0, 0, 0, 0)
AT_MS = 1_770_000_000_000
CODES = (("kind", KINDS), ("verdict", VERDICTS), ("agent", AGENTS), ("network", NETWORKS))


def number_of(name: str, beyond: int = 0) -> st.SearchStrategy[int]:
    """Numbers of a field, with its bounds, and what is `beyond` them."""
    low, high = RANGES[name]
    return st.one_of(st.integers(low - beyond, high + beyond), st.sampled_from([low, high, 0, 1]))


TIMES = st.one_of(st.integers(AT_MS, AT_MS + 3), st.integers(MIN_TIME_MS, MAX_TIME_MS), st.just(MIN_TIME_MS))
EVENT = st.fixed_dictionaries(
    {"event_id": st.binary(min_size=16, max_size=16), "occurred_at": TIMES}
    | {name: st.integers(0, len(symbols) - 1) for name, symbols in CODES}
    | {name: number_of(name) for name in WIRE_NUMBERS}
)


def numbers_of(event: dict[str, Any]) -> Numbers:
    """The numbers of an event in their order."""
    return cast("Numbers", tuple(event[name] for name in WIRE_NUMBERS))


def packed(event: dict[str, Any]) -> bytes:
    """The event through the packer."""
    codes = event_codes(*(symbols[event[name]] for name, symbols in CODES))
    return pack_event(event["event_id"], event["occurred_at"], codes, numbers_of(event))


@given(st.lists(EVENT, max_size=5))
def test_packed_is_encoded(events: list[dict[str, Any]]) -> None:
    """Any events, with times of any width, give the bytes of encode_frame."""
    rows = new_events(len(events))
    for row, event in zip(rows, events, strict=True):
        for name, value in event.items():
            row[name] = list(value) if name == "event_id" else value
    frame = pack_frame(frame_head("tests"), AT_MS, [packed(event) for event in events])
    assert frame == encode_frame("tests", AT_MS, rows)
    assert (decode_frame(frame).events == rows).all()


@pytest.mark.parametrize("name", WIRE_NUMBERS)
def test_numbers_beyond_their_range(name: str) -> None:
    """The first number on either side of a field's range is refused, and the last within it is not."""
    low, high = RANGES[name]
    event: dict[str, Any] = dict.fromkeys((*WIRE_NUMBERS, *(field for field, _ in CODES)), 0)
    event |= {"event_id": bytes(16), "occurred_at": AT_MS}
    for number in (low, high):
        packed(event | {name: number})
    for number in (low - 1, high + 1):
        with pytest.raises(FrameRangeError):
            packed(event | {name: number})


@pytest.mark.parametrize("at_ms", [MIN_TIME_MS - 1, MAX_TIME_MS + 1])
def test_times_outside_the_calendar(at_ms: int) -> None:
    """A time that no calendar shows is refused, and leaves the next event alone."""
    codes = event_codes(KINDS[1], VERDICTS[0], AGENTS[0], NETWORKS[0])
    with pytest.raises(FrameRangeError):
        pack_event(bytes(16), at_ms, codes, NO_NUMBERS)
    assert pack_event(bytes(16), AT_MS, codes, NO_NUMBERS)


def test_names_and_ids() -> None:
    """An id of another length and a recorder's name with NUL are refused."""
    with pytest.raises(UnencodableMessageError):
        pack_event(b"short", AT_MS, bytes(4), NO_NUMBERS)
    with pytest.raises(SchemaError):
        frame_head("a\x00b")
