"""Frames decoded at once equal frames decoded one by one, and whatever is odd is left to the one by one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import SchemaError
from schemas.frame_runs import decode_frames
from schemas.frames import decode_frame, encode_frame, new_events

pytestmark = pytest.mark.unit

NOON_MS = 1_790_000_000_000


def payload_of(count: int, *, name: str = "collector/1", seed: int = 0, recorded_at_ms: int = NOON_MS) -> bytes:
    """A frame of so many events of any numbers."""
    chance = np.random.default_rng(seed)
    events = new_events(count)
    events["occurred_at"] = NOON_MS + chance.integers(-(10**9), 10**9, count)
    events["kind"] = chance.integers(0, 11, count)
    events["destination"] = chance.integers(0, 10**9, count)
    events["run_id"] = chance.integers(0, 10**6, count)
    events["event_id"] = chance.integers(0, 256, (count, 16))
    return encode_frame(name, recorded_at_ms, events)


def one_by_one(payloads: list[bytes]) -> tuple[list[int], list[int], list[bytes]]:
    """Counts, times and rows by decode_frame."""
    frames = [decode_frame(payload) for payload in payloads]
    rows = [row.tobytes() for frame in frames for row in frame.events]
    return [len(frame.events) for frame in frames], [frame.recorded_at_ms for frame in frames], rows


@given(
    shapes=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 3, 63, 64, 200]),
            st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=12),
        ),
        max_size=6,
    )
)
def test_at_once_is_one_by_one(shapes: list[tuple[int, str]]) -> None:
    """Frames of any count, also none and those whose count has two bytes, of any writers."""
    payloads = [payload_of(count, name=name, seed=place) for place, (count, name) in enumerate(shapes)]
    found = decode_frames(payloads)
    assert found is not None
    counts, times, rows = one_by_one(payloads)
    assert (found.counts.tolist(), found.recorded_at_ms.tolist()) == (counts, times)
    assert [row.tobytes() for row in found.events] == rows


@given(count=st.sampled_from([0, 1, 70]), place=st.integers(0, 10_000), change=st.integers(1, 255), cut=st.booleans())
def test_what_is_odd_is_left_to_the_one_by_one(count: int, place: int, change: int, *, cut: bool) -> None:
    """A frame with a byte changed or its end cut is the same frame for both, or for the one alone."""
    good, whole = payload_of(2), payload_of(count, seed=1)
    place %= len(whole)
    bad = whole[:place] if cut else whole[:place] + bytes([whole[place] ^ change]) + whole[place + 1 :]
    found = decode_frames([good, bad])
    if found is None:
        return
    counts, times, rows = one_by_one([good, bad])
    assert (found.counts.tolist(), found.recorded_at_ms.tolist()) == (counts, times)
    assert [row.tobytes() for row in found.events] == rows


@pytest.mark.parametrize("odd", [None, b"", b"x", payload_of(2)[:-1], payload_of(2) + b"\0", payload_of(0)[:-1]])
def test_no_frame_is_no_run(odd: bytes | None) -> None:
    """One record that is no frame of constant stride stops the whole run."""
    assert decode_frames([payload_of(3), odd]) is None


def test_times_beyond_six_bytes_are_left_to_the_one_by_one() -> None:
    """1970 and 2046 are good frames, and not of constant stride."""
    for recorded_at_ms in (0, 2_400_000_000_000):
        assert decode_frames([payload_of(1, recorded_at_ms=recorded_at_ms)]) is None
        assert decode_frame(payload_of(1, recorded_at_ms=recorded_at_ms)).recorded_at_ms == recorded_at_ms


def test_names_that_are_no_text_are_poison_in_both() -> None:
    """A writer's name that is not UTF-8, or holds NUL, is refused one by one."""
    for name in (b"\xff", b"\x00"):
        bad = payload_of(1, name="a").replace(b"\x02a", b"\x02" + name, 1)
        assert decode_frames([bad]) is None
        with pytest.raises(SchemaError):
            decode_frame(bad)
