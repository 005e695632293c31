"""Windows of engagement: frames of events folded into cells by event time, exactly and in log order.

The rule, which a recount of the log has to follow:

* An event's time is its `occurred_at`, clamped (`clamp`) by its frame's `recorded_at` and the record's append time.
* The watermark of a partition is the largest time seen in it, in offset order and event by event, less five minutes
  (`LATENESS_MS`); events that are repeats move it too. A frame without events is a heartbeat: it stands for one time,
  the smaller of its `recorded_at` and the record's append time, and not less than 0.
* An event is late in its window when the window's end is at or before the watermark that the event itself and all
  before it have made. It still counts; `late` says how many did, `revision` how many frames brought some.
* A frame whose (source, id) was seen, or an event from outside whose id was, counts once: within seven days of its own
  UTC day. The first in the log counts.
* A reader is unique once for each (run, channel, kind, human or not), in the windows of the first touch that counts.
  Destination 0 is nobody: it is counted and never unique.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from publishing.domain.grouping import grouped, packed, runs_of
from publishing.domain.link_clicks import link_clicks
from schemas.frames import KIND_INDEX, KINDS, VERDICT_INDEX, VERDICTS, new_events
from schemas.messages import EngagementKind, Verdict

Columns: TypeAlias = dict[str, list[Any]]
Rows: TypeAlias = npt.NDArray[np.void]
Times: TypeAlias = npt.NDArray[np.int64]
# What is deduplicated: the UTC day it is of, in ms, and its id.
Key: TypeAlias = tuple[int, bytes]

MINUTE_MS, HOUR_MS, DAY_MS = 60_000, 3_600_000, 86_400_000
# Receipts pass SNS and a collector's spool; nearly all are there within minutes. No setting: two values of it in one
# history would make `late` and `revision` mean two things.
LATENESS_MS = 5 * MINUTE_MS
FUTURE_MS = DAY_MS
PAST_MS = 30 * DAY_MS
# Bit 0 of an event's flags: its id came from outside and is to be deduplicated.
OUTSIDE_ID = 1
# A partition that has seen nothing: before every event time (the year 1 is -62,135,596,800,000).
NO_WATERMARK = -(2**62)


class Grain(StrEnum):
    """The width of a window."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


WIDTH_MS = {Grain.MINUTE: MINUTE_MS, Grain.HOUR: HOUR_MS, Grain.DAY: DAY_MS}
GRAINS = tuple(Grain)

READER_KINDS = (
    EngagementKind.OPENED,
    EngagementKind.CLICKED,
    EngagementKind.UNSUBSCRIBED,
    EngagementKind.COMPLAINED,
)
# What ends sending to a destination. `bounced` is final: a bounce that may pass is `deferred`.
ENDING_KINDS = (EngagementKind.UNSUBSCRIBED, EngagementKind.BOUNCED, EngagementKind.COMPLAINED)


class Frame(NamedTuple):
    """One record of the log: its events, when it was recorded and appended, its id where it is deduplicated whole."""

    events: Rows
    recorded_at_ms: int
    appended_at_ms: int
    frame_id: bytes | None = None


class Stretch(NamedTuple):
    """Records of one partition in offset order, as columns: a frame's count of events, its times, the id of some."""

    events: Rows
    counts: Times
    recorded_at_ms: Times
    appended_at_ms: Times
    frame_ids: Mapping[int, bytes]


def stretch_of(frames: Sequence[Frame]) -> Stretch:
    """Frames as one stretch."""
    return Stretch(
        np.concatenate([frame.events for frame in frames]) if frames else new_events(0),
        np.array([len(frame.events) for frame in frames], np.int64),
        np.array([frame.recorded_at_ms for frame in frames], np.int64),
        np.array([frame.appended_at_ms for frame in frames], np.int64),
        {number: frame.frame_id for number, frame in enumerate(frames) if frame.frame_id is not None},
    )


def frame_id(source: str, number: str) -> bytes:
    """The id of a frame that is deduplicated whole: 16 bytes of BLAKE2b over its CloudEvents source and id."""
    return blake2b(f"{source}\n{number}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Folded:
    """What a statement applies; every group of columns has columns of equal length.

    `ids` (unit, day_ms, event_id): counted only if new. A row of the others belongs to unit 0, which always counts, or
    to one of them; where the ids are presumed new, all is unit 0. `dimensions` are the distinct rows that `group`
    numbers from 0. `cells` (group, unit, late_frame or -1, grain, window_ms, total, first_ms, last_ms).
    `touches` (group, unit, destination, at_ms, place in the log), ordered by reader. `endings` (destination,
    channel_id, kind). `links` (group, unit, content_id, link, total). `watermarks_ms` are the partitions' at the end.
    """

    ids: Columns
    dimensions: Columns
    cells: Columns
    touches: Columns
    endings: Columns
    links: Columns
    watermarks_ms: Sequence[int]
    clamped_future: int
    clamped_past: int
    late_events: int
    repeated_events: int
    repeated_frames: int
    events: int

    @property
    def watermark_ms(self) -> int:
        """The watermark where one partition was folded."""
        (watermark_ms,) = self.watermarks_ms
        return watermark_ms


def clamp(times: Times, recorded_at_ms: Times | int, appended_at_ms: Times | int) -> Times:
    """Event times within the horizon: more than a day ahead becomes the recording's, more than 30 days back that bound.

    A recorder whose own clock is more than a day ahead of the log is taken back to a day ahead of it, or one bad clock
    would close every window of the partition.
    """
    anchor = np.maximum(0, np.minimum(recorded_at_ms, np.asarray(appended_at_ms) + FUTURE_MS))
    clamped: Times = np.where(times > anchor + FUTURE_MS, anchor, np.maximum(times, anchor - PAST_MS))
    return clamped


def fold(frames: Sequence[Frame], watermark_ms: int) -> Folded:
    """Fold the frames of one partition, in offset order, on top of its watermark.

    However the frames are batched, what the batches add up to is the same.
    """
    return fold_stretches([stretch_of(frames)], [watermark_ms])


def fold_stretches(
    stretches: Sequence[Stretch],
    watermarks_ms: Sequence[int],
    *,
    presume_new: bool = False,
    known: frozenset[Key] = frozenset(),
) -> Folded:
    """Fold stretches of several partitions, each on top of its watermark, into one batch.

    `presume_new` folds what has an id with all the rest: for a statement that fails as a whole if an id is known.
    What has one of the `known` ids has been counted before.
    """
    log = _log_of(stretches)
    units = _Units(log, known)
    marks, watermarks = _marks(stretches, log, watermarks_ms)
    counted = slice(None) if units.kept.all() else np.flatnonzero(units.kept)
    events, times, marks = log.events[counted], log.times[counted], marks[counted]
    unit = np.zeros(len(events), np.int64) if presume_new else units.of[counted]
    group, firsts = grouped([events[name] for name in DIMENSIONS])
    late = np.array([_is_late(times, marks, width) for width in WIDTH_MS.values()])
    cells = _cells(group, unit, times, np.where(late, log.frame[counted], -1))
    return Folded(
        ids=units.ids,
        dimensions=_named({name: events[name][firsts] for name in DIMENSIONS}),
        cells=cells,
        touches=_touches(events, times, group, unit),
        endings=_endings(log.events),
        links=link_clicks(events, group, unit),
        watermarks_ms=watermarks,
        clamped_future=int((log.times < log.events["occurred_at"]).sum()),
        clamped_past=int((log.times > log.events["occurred_at"]).sum()),
        late_events=int(late[0].sum()),
        repeated_events=units.repeated_events,
        repeated_frames=units.repeated_frames,
        events=len(events),
    )


class _Log(NamedTuple):
    """The events of a batch: rows, the frame each is of, and clamped times; the frames: id by number, and day."""

    events: Rows
    frame: Times
    times: Times
    frame_ids: Mapping[int, bytes]
    recorded_at_ms: Times


def _log_of(stretches: Sequence[Stretch]) -> _Log:
    counts = _joined([each.counts for each in stretches])
    recorded = _joined([each.recorded_at_ms for each in stretches])
    appended = _joined([each.appended_at_ms for each in stretches])
    events = stretches[0].events if len(stretches) == 1 else np.concatenate([each.events for each in stretches])
    times = clamp(events["occurred_at"], np.repeat(recorded, counts), np.repeat(appended, counts))
    ids: dict[int, bytes] = {}
    before = 0
    for each in stretches:
        ids.update({before + number: name for number, name in each.frame_ids.items()})
        before += len(each.counts)
    return _Log(events, np.repeat(np.arange(len(counts)), counts), times, ids, recorded)


def _joined(columns: Sequence[Times]) -> Times:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _marks(stretches: Sequence[Stretch], log: _Log, watermarks_ms: Sequence[int]) -> tuple[Times, list[int]]:
    """The watermark of each event's partition once the event has been seen, and each partition's at the end."""
    marks = np.empty(len(log.times), np.int64)
    ends, start = [], 0
    for stretch, watermark_ms in zip(stretches, watermarks_ms, strict=True):
        stop = start + len(stretch.events)
        mine = np.maximum.accumulate(log.times[start:stop]) - LATENESS_MS
        np.maximum(mine, watermark_ms, out=mine)
        end = max(watermark_ms, int(mine[-1])) if len(mine) else watermark_ms
        beats = np.flatnonzero(stretch.counts == 0)
        if len(beats):
            beaten = np.maximum(0, np.minimum(stretch.recorded_at_ms, stretch.appended_at_ms))[beats] - LATENESS_MS
            passed = np.full(len(mine) + 1, NO_WATERMARK)
            np.maximum.at(passed, np.cumsum(stretch.counts)[beats], beaten)
            passed = np.maximum.accumulate(passed)
            np.maximum(mine, passed[:-1], out=mine)
            end = max(end, int(passed[-1]))
        marks[start:stop] = mine
        ends.append(end)
        start = stop
    return marks, ends


class _Units:
    """Which id decides whether an event counts: none (unit 0), its own, or its frame's; repeats in the batch go."""

    def __init__(self, log: _Log, counted: frozenset[Key]) -> None:
        self.of = np.zeros(len(log.events), np.int64)
        self.kept = np.ones(len(log.events), np.bool_)
        self.repeated_events = self.repeated_frames = 0
        self._counted = counted
        self._known: dict[Key, int] = {}
        outside = (log.events["flags"] & OUTSIDE_ID) != 0
        bounds = np.searchsorted(log.frame, np.arange(len(log.recorded_at_ms) + 1)).tolist() if log.frame_ids else []
        for number, name in log.frame_ids.items():
            mine = slice(bounds[number], bounds[number + 1])
            self._take_frame((int(log.recorded_at_ms[number]) // DAY_MS * DAY_MS, name), mine, outside[mine])
        places = np.flatnonzero(outside)
        days = (log.events["occurred_at"][places] // DAY_MS * DAY_MS).tolist()
        names = log.events["event_id"][places].tobytes()
        for row, (place, day) in enumerate(zip(places.tolist(), days, strict=True)):
            self._take_event((day, names[16 * row : 16 * row + 16]), place)
        self.ids: Columns = {
            "unit": list(self._known.values()),
            "day_ms": [day for day, _ in self._known],
            "event_id": [name for _, name in self._known],
        }

    def _take_frame(self, key: Key, mine: slice, outside: npt.NDArray[np.bool_]) -> None:
        if key in self._known or key in self._counted:
            self.kept[mine] = outside
            self.repeated_frames += 1
            return
        self._known[key] = len(self._known) + 1
        self.of[mine][~outside] = self._known[key]

    def _take_event(self, key: Key, place: int) -> None:
        if key in self._known or key in self._counted:
            self.kept[place] = False
            self.repeated_events += 1
            return
        self.of[place] = self._known[key] = len(self._known) + 1


def _is_late(times: Times, marks: Times, width_ms: int) -> npt.NDArray[np.bool_]:
    return times - times % width_ms + width_ms <= marks


DIMENSIONS = ("publication_id", "run_id", "channel_id", "arm", "kind", "verdict")
_MINUTES = {Grain.HOUR: 60, Grain.DAY: 1_440}


def _cells(group: Times, unit: Times, times: Times, late: npt.NDArray[np.int64]) -> Columns:
    """Cells of the three grains; `late` is the frame an event is late by, or -1, in each grain.

    What is late in no grain, which is nearly all, is folded by minute once, and hours and days from its minutes.
    """
    on_time = (late < 0).all(axis=0)
    minutes = times // MINUTE_MS
    some = slice(None) if on_time.all() else on_time
    low = _folded(group[some], unit[some], _NOBODY, minutes[some], (times[some], times[some], None))
    parts = [(Grain.MINUTE, low)]
    counted: _Counted = low["first_ms"], low["last_ms"], low["total"]
    for grain, width in _MINUTES.items():
        parts.append((grain, _folded(low["group"], low["unit"], _NOBODY, low["window"] // width, counted)))
    if not on_time.all():
        behind = ~on_time
        for number, grain in enumerate(GRAINS):
            window = times[behind] // WIDTH_MS[grain]
            counted = times[behind], times[behind], None
            parts.append((grain, _folded(group[behind], unit[behind], late[number][behind], window, counted)))
    columns = {name: [value for _, part in parts for value in part[name].tolist()] for name in _FOLDED}
    columns["grain"] = [str(grain) for grain, part in parts for _ in range(len(part["total"]))]
    columns["window_ms"] = [n * WIDTH_MS[grain] for grain, part in parts for n in part["window"].tolist()]
    return columns


_FOLDED = ("group", "unit", "late_frame", "total", "first_ms", "last_ms")
_NOBODY: Times = np.full(1, -1, np.int64)
_Counted: TypeAlias = tuple[Times, Times, Times | None]


def _folded(group: Times, unit: Times, late: Times, window: Times, counted: _Counted) -> dict[str, Times]:
    """Rows of equal (window, unit, late, group) as one: totals added, first and last time."""
    first, last, total = counted
    late = np.broadcast_to(late, group.shape)
    key = packed([unit, window, late, group])
    if key is None:
        key = grouped([unit, window, late, group])[0].astype(np.int64)
    order, starts = runs_of(key)
    head = order[starts]
    if not len(starts):
        return dict.fromkeys((*_FOLDED, "window"), key)
    return {
        "group": group[head],
        "unit": unit[head],
        "late_frame": late[head],
        "window": window[head],
        "total": np.diff(starts, append=len(order)) if total is None else np.add.reduceat(total[order], starts),
        "first_ms": np.minimum.reduceat(first[order], starts),
        "last_ms": np.maximum.reduceat(last[order], starts),
    }


_READER_CODES = np.zeros(256, np.bool_)
_READER_CODES[[KIND_INDEX[kind] for kind in READER_KINDS]] = True
_ENDING_CODES = np.zeros(256, np.bool_)
_ENDING_CODES[[KIND_INDEX[kind] for kind in ENDING_KINDS]] = True
_HUMAN = VERDICT_INDEX[Verdict.HUMAN]


def _touches(events: Rows, times: Times, group: Times, unit: Times) -> Columns:
    """The first touch, in log order, of each reader in each unit; a later batch's or unit's loses against it in SQL."""
    places = np.flatnonzero(_READER_CODES[events["kind"]] & (events["destination"] != 0))
    rows = events[places]
    names = ("run_id", "channel_id", "destination", "kind")
    _, firsts = grouped([unit[places], *(rows[name] for name in names), rows["verdict"] == _HUMAN])
    chosen = places[firsts]
    return {
        "group": group[chosen].tolist(),
        "unit": unit[chosen].tolist(),
        "destination": rows["destination"][firsts].tolist(),
        "at_ms": times[chosen].tolist(),
        "place": chosen.tolist(),
    }


def _endings(log: Rows) -> Columns:
    """The destinations that sending ends to; counted or not, as ending twice changes nothing."""
    events = log[_ENDING_CODES[log["kind"]] & (log["destination"] != 0)]
    names = ("destination", "channel_id", "kind")
    _, firsts = grouped([events[name] for name in names])
    return _named({name: events[name][firsts] for name in names})


def _named(columns: dict[str, npt.NDArray[Any]]) -> Columns:
    """Columns as lists, with the words of enums."""
    words = {"kind": KINDS, "verdict": VERDICTS}
    return {
        name: [str(words[name][code]) for code in column.tolist()] if name in words else column.tolist()
        for name, column in columns.items()
    }
