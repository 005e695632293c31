"""R13: wrong clocks, steps back, summer time, and events of 1970 and 2099; windows are by event time all the same."""

import datetime as dt
import signal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain import windows
from publishing.domain.windows import DAY_MS, GRAINS, HOUR_MS, MINUTE_MS, NO_WATERMARK, WIDTH_MS, Frame, fold
from publishing.runtime.clock import now_ms
from schemas.frames import encode_frame, new_events
from tests.fakes.engagement_recount import DIMENSIONS, Recount
from tests.faults.streams.conftest import Stage

pytestmark = pytest.mark.faults

SPRING_MS = int(dt.datetime(2026, 3, 29, 1, tzinfo=dt.UTC).timestamp() * 1000)
AUTUMN_MS = int(dt.datetime(2026, 10, 25, 1, tzinfo=dt.UTC).timestamp() * 1000)
FAR_MS = {1970: 0, 2099: int(dt.datetime(2099, 12, 31, 23, 59, 59, tzinfo=dt.UTC).timestamp() * 1000)}
SKEWS_MS = st.sampled_from([0, -2 * HOUR_MS, 2 * HOUR_MS]) | st.integers(-2 * HOUR_MS, 2 * HOUR_MS)


@st.composite
def logs(draw: st.DrawFn) -> list[Frame]:
    """A log around a change to or from summer time: clocks of recorders are wrong, and the broker's steps back."""
    now = draw(st.sampled_from([SPRING_MS, AUTUMN_MS])) - 90 * MINUTE_MS
    frames = []
    for _ in range(draw(st.integers(1, 8))):
        now += draw(st.integers(0, 40 * MINUTE_MS) | st.just(-30 * MINUTE_MS))
        recorded = now + draw(SKEWS_MS)
        events = new_events(draw(st.integers(0, 4)))
        for row in range(len(events)):
            events["occurred_at"][row] = draw(
                st.integers(recorded - 2 * HOUR_MS, recorded + MINUTE_MS) | st.sampled_from(list(FAR_MS.values()))
            )
            events["kind"][row] = draw(st.integers(1, 4))
            events["destination"][row] = draw(st.integers(0, 2))
        frames.append(Frame(events, recorded, now))
    return frames


Cells = dict[tuple[object, ...], tuple[int, int]]


def folded(frames: list[Frame]) -> tuple[Cells, int]:
    """(total, late) of the cells by folding frame by frame, and how many events were clamped."""
    found: Cells = {}
    mark, clamped = NO_WATERMARK, 0
    for frame in frames:
        part = fold([frame], mark)
        mark = part.watermark_ms
        clamped += part.clamped_future + part.clamped_past
        for values in zip(*part.cells.values(), strict=True):
            row = dict(zip(part.cells, values, strict=True))
            dimensions = [part.dimensions[name][row["group"]] for name in DIMENSIONS]
            key = (row["grain"], row["window_ms"], *dimensions)
            total, late = found.get(key, (0, 0))
            found[key] = total + row["total"], late + (row["total"] if row["late_frame"] >= 0 else 0)
    return found, clamped


def recounted(frames: list[Frame]) -> Cells:
    """The same by counting event by event."""
    truth = Recount()
    truth.recount(frames)
    return {key: (row[0], row[2]) for key, row in truth.rows().items()}


@settings(max_examples=150, deadline=None)
@given(frames=logs())
def test_windows_are_by_event_time_whatever_the_clocks_say(frames: list[Frame]) -> None:
    """Cells and lateness equal the recount; windows are whole in UTC; nothing is dropped; far times are clamped."""
    cells, clamped = folded(frames)
    assert cells == recounted(frames)
    events = sum(len(frame.events) for frame in frames)
    for grain in GRAINS:
        assert sum(total for key, (total, _) in cells.items() if key[0] == grain) == events
        assert all(int(str(key[1])) % WIDTH_MS[grain] == 0 for key in cells if key[0] == grain)
    far = sum(int((frame.events["occurred_at"] == at).sum()) for frame in frames for at in FAR_MS.values())
    assert clamped == far
    newest = max(frame.recorded_at_ms for frame in frames)
    assert all(int(str(key[1])) <= newest + DAY_MS for key in cells)


def test_the_mutant_with_the_wall_clock_differs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows of the moment of recording are other windows as soon as a clock is wrong."""
    events = new_events(1)
    events["occurred_at"] = SPRING_MS
    frames = [Frame(events, SPRING_MS + 2 * HOUR_MS, SPRING_MS)]
    assert folded(frames)[0] == recounted(frames)
    monkeypatch.setattr(windows, "clamp", lambda times, recorded, _: times * 0 + recorded)
    assert folded(frames)[0] != recounted(frames)


async def produce_skewed(stage: Stage) -> None:
    """Frames of recorders that are 2 h ahead, 2 h behind and right, with events of 1970, 2099 and the last hours."""
    for shard in range(stage.settings.audience_shards):
        values: list[bytes | None] = []
        for skew_ms in (0, 2 * HOUR_MS, -2 * HOUR_MS, 0):
            recorded = now_ms() + skew_ms
            events = new_events(5)
            events["occurred_at"] = [0, FAR_MS[2099], recorded, recorded - 40 * MINUTE_MS, recorded - 90 * MINUTE_MS]
            events["kind"], events["destination"] = [1, 2, 1, 2, 4], stage.settings.audience_shards + shard
            values.append(encode_frame("tests", recorded, events))
        await stage.produce(values, partition=shard)


async def counted(stage: Stage, *mutation: str) -> None:
    """Let a worker count everything."""
    async with stage.worker(*mutation) as worker:
        await stage.drained()
        worker.send(signal.SIGTERM)
        assert await worker.exited() == 0


async def test_wrong_clocks_end_in_the_windows_of_the_recount(stage: Stage) -> None:
    """In the tables too: by event time, clamped by policy, late counted."""
    await produce_skewed(stage)
    await counted(stage)
    found = await stage.windows()
    assert found == await stage.recount()
    assert any(row[2] for row in found.values())


async def test_the_worker_with_the_wall_clock_differs(stage: Stage) -> None:
    """The mutant puts every event into the window it was read in."""
    await produce_skewed(stage)
    await counted(stage, "wall_clock_windows")
    assert await stage.windows() != await stage.recount()
