"""Windows of engagement: frames of events folded into cells by event time, exactly and in log order."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from schemas.frames import KIND_INDEX, KINDS, VERDICT_INDEX, VERDICTS, new_events
from schemas.messages import EngagementKind, Verdict

Columns: TypeAlias = dict[str, list[Any]]
Rows: TypeAlias = npt.NDArray[np.void]
Times: TypeAlias = npt.NDArray[np.int64]

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


def frame_id(source: str, number: str) -> bytes:
    """The id of a frame that is deduplicated whole: 16 bytes of BLAKE2b over its CloudEvents source and id."""
    return blake2b(f"{source}\n{number}".encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Folded:
    """What a statement applies; every group is columns of equal length.

    `ids` (unit, day_ms, event_id): counted only if new. A row of the others belongs to unit 0, which always counts, or
    to one of them. `cells` (unit, late_frame or -1, grain, window_ms, dimensions, total, first_ms, last_ms), sorted by
    key. `touches` (place in the log, unit, reader, dimensions, at_ms). `endings` (destination, channel_id, kind).
    `watermark_ms` is the partition's after all of it.
    """

    ids: Columns
    cells: Columns
    touches: Columns
    endings: Columns
    watermark_ms: int
    clamped_future: int
    clamped_past: int
    late_events: int
    repeated_events: int
    repeated_frames: int


def clamp(times: Times, recorded_at_ms: int, appended_at_ms: int) -> Times:
    """Event times within the horizon: more than a day ahead becomes the recording's, more than 30 days back that bound.

    A recorder whose own clock is more than a day ahead of the log is taken back to a day ahead of it, or one bad clock
    would close every window of the partition.
    """
    anchor = max(0, min(recorded_at_ms, appended_at_ms + FUTURE_MS))
    return np.where(times > anchor + FUTURE_MS, anchor, np.maximum(times, anchor - PAST_MS))


def fold(frames: Sequence[Frame], watermark_ms: int) -> Folded:
    """Fold the frames of one partition, in offset order, on top of its watermark.

    However the frames are batched, what the batches add up to is the same. Late is who comes after the end of its
    window has passed the watermark, which is the largest event time before it in the log less five minutes: 12:00:59
    is late in its minute once 12:06:00 is in the log, and not in its hour.
    """
    sizes = [len(frame.events) for frame in frames]
    log = _Log(
        events=np.concatenate([frame.events for frame in frames]) if frames else new_events(0),
        frame=np.repeat(np.arange(len(frames)), sizes),
        times=np.concatenate([clamp(f.events["occurred_at"], f.recorded_at_ms, f.appended_at_ms) for f in frames])
        if frames
        else np.zeros(0, np.int64),
    )
    units = _Units(frames, log)
    marks = np.maximum(np.maximum.accumulate(log.times - LATENESS_MS), watermark_ms)
    kept = np.flatnonzero(units.kept)
    late_in_minute = _is_late(log.times, marks, MINUTE_MS)
    return Folded(
        ids=units.ids,
        cells=_cells(log, units.of, marks, kept),
        touches=_touches(log, units.of, kept),
        endings=_endings(log),
        watermark_ms=int(marks[-1]) if len(marks) else watermark_ms,
        clamped_future=int((log.times < log.events["occurred_at"]).sum()),
        clamped_past=int((log.times > log.events["occurred_at"]).sum()),
        late_events=int(late_in_minute[kept].sum()),
        repeated_events=units.repeated_events,
        repeated_frames=units.repeated_frames,
    )


class _Log(NamedTuple):
    """The events of a batch in log order: rows, the frame each is of, and clamped times."""

    events: Rows
    frame: npt.NDArray[np.intp]
    times: Times


class _Units:
    """Which id decides whether an event counts: none (unit 0), its own, or its frame's; repeats in the batch go."""

    def __init__(self, frames: Sequence[Frame], log: _Log) -> None:
        self.of = np.zeros(len(log.events), np.int64)
        self.kept = np.ones(len(log.events), np.bool_)
        self.repeated_events = self.repeated_frames = 0
        self._known: dict[tuple[int, bytes], int] = {}
        outside = (log.events["flags"] & OUTSIDE_ID) != 0
        for number, frame in enumerate(frames):
            if frame.frame_id is not None:
                self._take_frame(frame, (log.frame == number) & ~outside)
        days = log.events["occurred_at"] // DAY_MS * DAY_MS
        for place in np.flatnonzero(outside).tolist():
            self._take_event((int(days[place]), log.events["event_id"][place].tobytes()), place)
        self.ids: Columns = {
            "unit": list(self._known.values()),
            "day_ms": [day for day, _ in self._known],
            "event_id": [number for _, number in self._known],
        }

    def _take_frame(self, frame: Frame, mine: npt.NDArray[np.bool_]) -> None:
        key = (frame.recorded_at_ms // DAY_MS * DAY_MS, frame.frame_id or b"")
        if key in self._known:
            self.kept[mine] = False
            self.repeated_frames += 1
            return
        self.of[mine] = self._known[key] = len(self._known) + 1

    def _take_event(self, key: tuple[int, bytes], place: int) -> None:
        if key in self._known:
            self.kept[place] = False
            self.repeated_events += 1
            return
        self.of[place] = self._known[key] = len(self._known) + 1


def _is_late(times: Times, marks: Times, width_ms: int) -> npt.NDArray[np.bool_]:
    return times - times % width_ms + width_ms <= marks


DIMENSIONS = ("publication_id", "run_id", "channel_id", "arm", "kind", "verdict")


def _cells(log: _Log, units: Times, marks: Times, kept: npt.NDArray[np.intp]) -> Columns:
    events, times, frame, unit = log.events[kept], log.times[kept], log.frame[kept], units[kept]
    group, firsts = _grouped([unit, *(events[name] for name in DIMENSIONS)])
    found: dict[str, list[npt.NDArray[Any]]] = {}
    for number, grain in enumerate(GRAINS):
        window = times // WIDTH_MS[grain]
        late = np.where(_is_late(times, marks[kept], WIDTH_MS[grain]), frame, -1)
        order, starts = _runs_of(window, late, group)
        if not len(order):
            continue
        head = order[starts]
        of_group = firsts[group[head]]
        columns = {
            "unit": unit[head],
            "late_frame": late[head],
            "grain": np.full(len(head), number),
            "window_ms": window[head] * WIDTH_MS[grain],
            **{name: events[name][of_group] for name in DIMENSIONS},
            "total": np.diff(starts, append=len(order)),
            "first_ms": np.minimum.reduceat(times[order], starts),
            "last_ms": np.maximum.reduceat(times[order], starts),
        }
        for name, column in columns.items():
            found.setdefault(name, []).append(column)
    return _named({name: np.concatenate(parts) for name, parts in found.items()} or dict.fromkeys(CELLS, _NOTHING))


CELLS = ("unit", "late_frame", "grain", "window_ms", *DIMENSIONS, "total", "first_ms", "last_ms")
_NOTHING: Times = np.zeros(0, np.int64)


def _grouped(columns: Sequence[npt.NDArray[Any]]) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """A dense number for each distinct row of the columns, ordered as they are, and the first row of each."""
    order = np.lexsort(columns[::-1])
    changed = np.zeros(len(order), np.bool_)
    changed[:1] = True
    for column in columns:
        ordered = column[order]
        changed[1:] |= ordered[1:] != ordered[:-1]
    group = np.empty(len(order), np.intp)
    group[order] = np.cumsum(changed) - 1
    return group, order[changed]


def _runs_of(
    window: Times, late: Times, group: npt.NDArray[np.intp]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The order that brings equal (window, late, group) together, and where each run of them starts.

    One number holds all three: 5e9 minutes of the calendar, frames and groups of one batch are below 2**63.
    """
    if not len(window):
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    lates, groups = int(late.max()) + 2, int(group.max()) + 1
    key = ((window - window.min()) * lates + late + 1) * groups + group
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    return order, np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1])))


_READER_CODES = np.array([KIND_INDEX[kind] for kind in READER_KINDS], np.uint8)
_ENDING_CODES = np.array([KIND_INDEX[kind] for kind in ENDING_KINDS], np.uint8)
_HUMAN = VERDICT_INDEX[Verdict.HUMAN]


def _touches(log: _Log, units: Times, kept: npt.NDArray[np.intp]) -> Columns:
    """The first touch, in log order, of each reader in each unit; a later batch's or unit's loses against it in SQL."""
    places = kept[np.isin(log.events["kind"][kept], _READER_CODES)]
    events = log.events[places]
    human = events["verdict"] == _HUMAN
    reader = [events[name] for name in ("run_id", "channel_id", "destination", "kind")]
    _, firsts = _grouped([units[places], *reader, human])
    events = events[firsts]
    return _named(
        {
            "place": places[firsts],
            "unit": units[places][firsts],
            "destination": events["destination"],
            "human": human[firsts],
            **{name: events[name] for name in DIMENSIONS},
            "at_ms": log.times[places][firsts],
        }
    )


def _endings(log: _Log) -> Columns:
    """The destinations that sending ends to; counted or not, as ending twice changes nothing."""
    events = log.events[np.isin(log.events["kind"], _ENDING_CODES) & (log.events["destination"] != 0)]
    names = ("destination", "channel_id", "kind")
    _, firsts = _grouped([events[name] for name in names])
    return _named({name: events[name][firsts] for name in names})


def _named(columns: dict[str, npt.NDArray[Any]]) -> Columns:
    """Columns as lists, with the words of enums."""
    words = {"kind": KINDS, "verdict": VERDICTS, "grain": GRAINS}
    return {
        name: [str(words[name][code]) for code in column.tolist()] if name in words else column.tolist()
        for name, column in columns.items()
    }
