"""Folding equals a recount, however the log is cut; lateness and clamping are functions of the log alone."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain.windows import (
    DAY_MS,
    GRAINS,
    HOUR_MS,
    LATENESS_MS,
    MINUTE_MS,
    NO_WATERMARK,
    PAST_MS,
    WIDTH_MS,
    Folded,
    Frame,
    clamp,
    fold,
    fold_stretches,
    frame_id,
    stretch_of,
)
from schemas.frames import KIND_INDEX, KINDS, VERDICT_INDEX, VERDICTS, new_events
from schemas.messages import EngagementKind, Verdict
from tests.fakes.engagement_recount import DIMENSIONS, Recount, Tables

pytestmark = pytest.mark.unit

NOON_MS = 1_790_000_000_000 // DAY_MS * DAY_MS + 12 * HOUR_MS


def frame_of(rows: Sequence[dict[str, int]], *, recorded_at_ms: int = NOON_MS, identity: bytes | None = None) -> Frame:
    """A frame of events given by their fields; times default to the recording's."""
    events = new_events(len(rows))
    for place, row in enumerate(rows):
        events["occurred_at"][place] = row.get("occurred_at", recorded_at_ms)
        for name, value in row.items():
            if name == "event_id":
                events["event_id"][place, 0] = value
            elif name != "occurred_at":
                events[name][place] = value
    return Frame(events, recorded_at_ms, recorded_at_ms, identity)


class Ledger(Tables):
    """What the statement does with folded batches, in plain dictionaries: the second, slow implementation."""

    def apply(self, folded: Folded) -> None:
        """Apply one folded batch."""
        counted = {0}
        for unit, day, number in zip(*folded.ids.values(), strict=True):
            if (day, number) not in self.seen:
                self.seen.add((day, number))
                counted.add(unit)
        revised = set()
        names = list(folded.cells)
        for values in zip(*folded.cells.values(), strict=True):
            row = dict(zip(names, values, strict=True))
            if row["unit"] not in counted:
                continue
            key = (row["grain"], row["window_ms"], *dimensions_of(folded, row["group"]))
            self.total[key] += row["total"]
            low, high = self.span.get(key, (row["first_ms"], row["last_ms"]))
            self.span[key] = min(low, row["first_ms"]), max(high, row["last_ms"])
            if row["late_frame"] >= 0:
                self.late[key] += row["total"]
                revised.add((key, row["late_frame"]))
        self.revision.update(key for key, _ in revised)
        names = list(folded.touches)
        touches = [dict(zip(names, values, strict=True)) for values in zip(*folded.touches.values(), strict=True)]
        for row in sorted(touches, key=lambda row: row["place"]):
            dimensions = dimensions_of(folded, row["group"])
            _, run_id, channel_id, _, kind, verdict = dimensions
            reader = (run_id, channel_id, row["destination"], kind, verdict == "human")
            if row["unit"] in counted and reader not in self.engaged:
                self.engaged.add(reader)
                for grain in GRAINS:
                    window = row["at_ms"] // WIDTH_MS[grain] * WIDTH_MS[grain]
                    self.uniques[(str(grain), window, *dimensions)] += 1


def dimensions_of(folded: Folded, group: int) -> tuple[Any, ...]:
    """The dimensions that a group's number stands for."""
    return tuple(folded.dimensions[name][group] for name in DIMENSIONS)


def tables(ledger: Tables) -> tuple[object, ...]:
    """What a ledger holds, row by row."""
    return (ledger.rows(), ledger.engaged, ledger.seen)


EVENTS = st.fixed_dictionaries(
    {
        "occurred_at": st.sampled_from(
            [-2 * HOUR_MS, -LATENESS_MS - MINUTE_MS, -LATENESS_MS, -1, 0, MINUTE_MS, HOUR_MS]
        )
        .flatmap(lambda base: st.integers(base, base + MINUTE_MS))
        .map(lambda offset: NOON_MS + offset)
        | st.sampled_from([0, NOON_MS + 3 * DAY_MS, NOON_MS - 2 * PAST_MS]),
        "kind": st.integers(0, len(KINDS) - 1),
        "verdict": st.integers(0, len(VERDICTS) - 1),
        "flags": st.sampled_from([0, 0, 1, 3]),
        "event_id": st.integers(0, 3),
        "arm": st.integers(0, 1),
        "run_id": st.integers(0, 2),
        "publication_id": st.integers(0, 1),
        "channel_id": st.integers(0, 1),
        "destination": st.integers(0, 2),
    }
)
FRAMES = st.builds(
    frame_of,
    st.lists(EVENTS, max_size=6),
    recorded_at_ms=st.sampled_from([NOON_MS, NOON_MS + MINUTE_MS, NOON_MS + DAY_MS]),
    identity=st.sampled_from([None, None, frame_id("tidewire/ledger", "1"), frame_id("tidewire/ledger", "2")]),
)


@settings(max_examples=60, deadline=None)
@given(frames=st.lists(FRAMES, max_size=8), cuts=st.sets(st.integers(1, 7)))
def test_batches_add_up_to_a_recount(frames: list[Frame], cuts: set[int]) -> None:
    """However a log is cut into batches, their sum is what counting event by event gives."""
    ledger, truth = Ledger(), Recount()
    bounds = sorted({0, len(frames), *(cut for cut in cuts if cut < len(frames))})
    mark = NO_WATERMARK
    for low, high in itertools.pairwise(bounds):
        folded = fold(frames[low:high], mark)
        ledger.apply(folded)
        mark = folded.watermark_ms
    truth.recount(frames)
    assert tables(ledger) == tables(truth)


@settings(max_examples=50, deadline=None)
@given(logs=st.lists(st.lists(FRAMES, max_size=5), min_size=1, max_size=3), cut=st.integers(0, 5))
def test_partitions_in_one_batch_add_up_to_a_recount(logs: list[list[Frame]], cut: int) -> None:
    """Several partitions folded at once, with what is known left out and the rest presumed new, are each counted."""
    ledger, truth = Ledger(), Recount()
    marks: Sequence[int] = [NO_WATERMARK] * len(logs)
    for part in (slice(0, cut), slice(cut, None)):
        stretches = [stretch_of(log[part]) for log in logs]
        folded = fold_stretches(stretches, marks, presume_new=True, known=frozenset(ledger.seen))
        assert set(folded.cells["unit"]) | set(folded.touches["unit"]) <= {0}
        ledger.apply(folded)
        marks = folded.watermarks_ms
        truth.go_on([log[part] for log in logs])
    assert tables(ledger) == tables(truth)


@settings(max_examples=50, deadline=None)
@given(frames=st.lists(FRAMES, max_size=5), data=st.data())
def test_order_changes_neither_totals_nor_the_number_of_readers(frames: list[Frame], data: st.DataObject) -> None:
    """Only what the order means (late, revision, whose window a reader counts in) may depend on it."""
    shuffled = data.draw(st.permutations(frames))
    ledgers: list[Ledger] = []
    for order in (frames, shuffled):
        plain = [frame._replace(frame_id=None, events=without_ids(frame)) for frame in order]
        ledgers.append(Ledger())
        ledgers[-1].apply(fold(plain, NO_WATERMARK))
    assert ledgers[0].total == ledgers[1].total
    assert ledgers[0].engaged == ledgers[1].engaged
    assert ledgers[0].span == ledgers[1].span


def without_ids(frame: Frame) -> np.ndarray:
    """The frame's events with nothing to deduplicate, as which repeat counts depends on the order."""
    events = frame.events.copy()
    events["flags"] = 0
    return events


@pytest.mark.parametrize(
    ("occurred", "expected"),
    [
        (DAY_MS, DAY_MS),
        (DAY_MS + 1, 0),
        (10**14, 0),
        (-PAST_MS, -PAST_MS),
        (-PAST_MS - 1, -PAST_MS),
        (-(10**13), -PAST_MS),
    ],
)
def test_times_outside_the_horizon_are_clamped(occurred: int, expected: int) -> None:
    """More than a day ahead becomes the recording's time, more than 30 days back that bound; the bounds stay."""
    times = np.array([NOON_MS + occurred])
    assert clamp(times, NOON_MS, NOON_MS).tolist() == [NOON_MS + expected]


def test_a_recorders_wild_clock_is_taken_back_to_the_logs() -> None:
    """A recorder in 2099 moves the watermark by a day at most."""
    wild = 4_070_908_800_000
    assert clamp(np.array([wild]), wild, NOON_MS).tolist() == [NOON_MS + DAY_MS]


def test_clamped_events_are_counted_for_the_metric() -> None:
    """Each event outside the horizon is named future or past once."""
    folded = fold([frame_of([{"occurred_at": 0}, {"occurred_at": NOON_MS + 2 * DAY_MS}, {}])], NO_WATERMARK)
    assert (folded.clamped_past, folded.clamped_future) == (1, 1)


def test_a_frame_without_events_is_the_time_it_was_recorded_at() -> None:
    """A heartbeat closes windows in its place in the log; its own clock is believed up to the log's."""
    beat = Frame(new_events(0), NOON_MS + HOUR_MS, NOON_MS + HOUR_MS)
    event = frame_of([{"occurred_at": NOON_MS}])
    assert fold([beat], NO_WATERMARK).watermark_ms == NOON_MS + HOUR_MS - LATENESS_MS
    assert fold([beat._replace(recorded_at_ms=2**45)], NO_WATERMARK).watermark_ms == NOON_MS + HOUR_MS - LATENESS_MS
    assert late_minutes(fold([event, beat], NO_WATERMARK)) == 0
    assert late_minutes(fold([beat, event], NO_WATERMARK)) == 1
    assert fold([beat], NOON_MS + DAY_MS).watermark_ms == NOON_MS + DAY_MS


def test_nobody_is_counted_and_never_unique() -> None:
    """An event of destination 0 makes cells and no touch."""
    folded = fold([frame_of([{"kind": KIND_INDEX[EngagementKind.OPENED]}])], NO_WATERMARK)
    assert folded.cells["total"] == [1, 1, 1]
    assert folded.touches["destination"] == []


def late_minutes(folded: Folded) -> int:
    """How many late events the minute windows hold."""
    rows = zip(folded.cells["grain"], folded.cells["late_frame"], folded.cells["total"], strict=True)
    return sum(total for grain, late, total in rows if grain == "minute" and late >= 0)


@pytest.mark.parametrize(("ahead_ms", "late"), [(-1, 0), (0, 1)])
def test_late_begins_where_the_window_ends_at_the_watermark(ahead_ms: int, late: int) -> None:
    """12:00:00 is late in its minute from the moment 12:06:00.000 is in the log, and not a millisecond before."""
    newest = NOON_MS + MINUTE_MS + LATENESS_MS + ahead_ms
    folded = fold([frame_of([{"occurred_at": newest}, {"occurred_at": NOON_MS}])], NO_WATERMARK)
    assert late_minutes(folded) == late
    assert folded.late_events == late


def test_the_stored_watermark_decides_for_the_next_batch() -> None:
    """Lateness carries over from batch to batch by the watermark alone."""
    mark = fold([frame_of([{"occurred_at": NOON_MS + HOUR_MS}])], NO_WATERMARK).watermark_ms
    assert mark == NOON_MS + HOUR_MS - LATENESS_MS
    assert late_minutes(fold([frame_of([{"occurred_at": NOON_MS}])], mark)) == 1


def test_an_empty_batch_moves_nothing() -> None:
    """A batch of only buried records folds to nothing and keeps the watermark."""
    folded = fold([], 7)
    assert folded.watermark_ms == 7
    assert not any(column for group in (folded.ids, folded.cells, folded.touches) for column in group.values())


def test_repeats_within_a_batch_go_before_the_database_sees_them() -> None:
    """A frame or an event whose id stands before it in the batch is left out, and counted as repeated."""
    whole = frame_id("tidewire/ledger", "9")
    one = frame_of([{"kind": 4}, {"kind": 1, "flags": 1, "event_id": 5}], identity=whole)
    folded = fold([one, one], NO_WATERMARK)
    assert sum(folded.cells["total"]) == 2 * len(GRAINS)
    assert (folded.repeated_frames, folded.repeated_events) == (1, 1)


def test_only_destinations_that_are_known_are_ended() -> None:
    """An unsubscription, a bounce and a complaint end sending; destination 0 is nobody."""
    rows = [
        {"kind": KIND_INDEX[EngagementKind.UNSUBSCRIBED], "destination": 4, "channel_id": 2},
        {"kind": KIND_INDEX[EngagementKind.UNSUBSCRIBED], "destination": 4, "channel_id": 2},
        {"kind": KIND_INDEX[EngagementKind.BOUNCED], "destination": 0},
        {"kind": KIND_INDEX[EngagementKind.DEFERRED], "destination": 5},
    ]
    assert fold([frame_of(rows)], NO_WATERMARK).endings == {
        "destination": [4],
        "channel_id": [2],
        "kind": ["unsubscribed"],
    }


def test_a_reader_is_human_only_by_that_verdict() -> None:
    """The verdicts unknown and machine are one reader that is not human."""
    opened = {"kind": KIND_INDEX[EngagementKind.OPENED], "destination": 1}
    folded = fold([frame_of([opened | {"verdict": VERDICT_INDEX[verdict]} for verdict in Verdict])], NO_WATERMARK)
    verdicts = [folded.dimensions["verdict"][group] for group in folded.touches["group"]]
    assert sorted(verdict == "human" for verdict in verdicts) == [False, True]
