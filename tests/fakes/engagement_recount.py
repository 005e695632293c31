"""The truth about a log of engagement: counted event by event, from the definitions, in plain dictionaries."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from publishing.domain.windows import (
    DAY_MS,
    GRAINS,
    LATENESS_MS,
    NO_WATERMARK,
    WIDTH_MS,
    Frame,
    clamp,
)
from schemas.frames import KINDS, VERDICTS

READER_KINDS = {"opened", "clicked", "unsubscribed", "complained"}
DIMENSIONS = ("publication_id", "run_id", "channel_id", "arm", "kind", "verdict")


class Tables:
    """What the windows hold, by (grain, window_ms, dimensions): totals, readers, lateness and the span of times."""

    def __init__(self) -> None:
        self.seen: set[tuple[int, bytes]] = set()
        self.engaged: set[tuple[object, ...]] = set()
        self.total: Counter[tuple[object, ...]] = Counter()
        self.late: Counter[tuple[object, ...]] = Counter()
        self.uniques: Counter[tuple[object, ...]] = Counter()
        self.revision: Counter[tuple[object, ...]] = Counter()
        self.span: dict[tuple[object, ...], tuple[int, int]] = {}

    def rows(self) -> dict[tuple[object, ...], tuple[int, int, int, int, int, int]]:
        """total, uniques, late, revision, first_ms, last_ms of each window."""
        return {
            key: (self.total[key], self.uniques[key], self.late[key], self.revision[key], *self.span[key])
            for key in self.total
        }


class Recount(Tables):
    """The truth, event by event, from the definitions."""

    def __init__(self) -> None:
        super().__init__()
        self._newest: dict[int, int] = {}

    def go_on(self, logs: Sequence[Sequence[Frame]]) -> None:
        """Count what has come to each of several partitions."""
        for partition, frames in enumerate(logs):
            self._newest[partition] = self.recount(frames, self._newest.get(partition, NO_WATERMARK))

    def recount(self, frames: Sequence[Frame], newest: int = NO_WATERMARK) -> int:
        """Count the log of one partition, or what comes after its newest time; returns the newest then."""
        for frame in frames:
            whole = frame.frame_id is None or self._is_new(frame.recorded_at_ms, frame.frame_id)
            revised = set()
            if not len(frame.events):
                newest = max(newest, 0, min(frame.recorded_at_ms, frame.appended_at_ms))
            for event in frame.events:
                at = int(clamp(np.array([event["occurred_at"]]), frame.recorded_at_ms, frame.appended_at_ms)[0])
                newest = max(newest, at)
                outside = bool(event["flags"] & 1)
                if outside and not self._is_new(int(event["occurred_at"]), event["event_id"].tobytes()):
                    continue
                if whole or outside:
                    revised |= self._count(event, at, newest - LATENESS_MS)
            self.revision.update(revised)
        return newest

    def _is_new(self, at_ms: int, number: bytes) -> bool:
        key = (at_ms // DAY_MS * DAY_MS, number)
        is_new = key not in self.seen
        self.seen.add(key)
        return is_new

    def _count(self, event: np.void, at: int, mark: int) -> set[tuple[object, ...]]:
        kind, verdict = str(KINDS[event["kind"]]), str(VERDICTS[event["verdict"]])
        dimensions = (*(int(event[n]) for n in DIMENSIONS[:4]), kind, verdict)
        reader = (*(int(event[n]) for n in ("run_id", "channel_id", "destination")), kind, verdict == "human")
        is_first = kind in READER_KINDS and reader[2] != 0 and reader not in self.engaged
        if is_first:
            self.engaged.add(reader)
        revised = set()
        for grain in GRAINS:
            start = at // WIDTH_MS[grain] * WIDTH_MS[grain]
            key = (str(grain), start, *dimensions)
            self.total[key] += 1
            self.uniques[key] += is_first
            low, high = self.span.get(key, (at, at))
            self.span[key] = min(low, at), max(high, at)
            if start + WIDTH_MS[grain] <= mark:
                self.late[key] += 1
                revised.add(key)
        return revised
