"""The recount: records of the log, one event after another, into cells and first touches, in plain Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from publishing.cli.replaying.frames import FrameReader
from publishing.cli.replaying.rulings import Ruling

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 60 * MINUTE_MS
DAY_MS: Final = 24 * HOUR_MS
LATENESS_MS: Final = 5 * MINUTE_MS
FUTURE_MS: Final = DAY_MS
PAST_MS: Final = 30 * DAY_MS
NEVER_MS: Final = -(2**62)
WIDTHS_MS: Final = {"minute": MINUTE_MS, "hour": HOUR_MS, "day": DAY_MS}

REPEATING: Final = ("tidewire/ledger", "tidewire/outbox", "tidewire/spool")
"""Sources whose frames may come twice, by the beginning of `ce_source`."""

READER_KINDS: Final = frozenset({"opened", "clicked", "unsubscribed", "complained"})
NOBODY: Final = bytes(8)
NO_RULE: Final = bytes(2)

Headers = Iterable[tuple[str, bytes]]
Dimensions = tuple[bytes, bytes, bytes, bytes, str, str]


class CellRow(NamedTuple):
    """One cell: its key as in publishing_analytics with the window's start in ms, and what was counted in it."""

    grain: str
    window_ms: int
    publication_id: int
    run_id: int
    channel_id: int
    arm: int
    kind: str
    verdict: str
    total: int
    uniques: int
    late: int
    first_ms: int
    last_ms: int


class Touch(NamedTuple):
    """A reader's first touch, as in publishing_engaged; `first_ms` since 1970."""

    run_id: int
    channel_id: int
    destination: int
    kind: str
    human: bool
    first_ms: int


class Cell:
    """What one window holds of one combination of dimensions; `stamp` is the pass that changed it last."""

    __slots__ = ("ends_ms", "first_ms", "last_ms", "late", "stamp", "total", "uniques")

    def __init__(self, ends_ms: int, at: int) -> None:
        self.total = self.uniques = self.late = self.stamp = 0
        self.ends_ms = ends_ms
        self.first_ms = self.last_ms = at


class Recount:
    """Counts records that are given partition by partition in offset order, on top of first touches already known.

    `rulings` stand newest first. State: about 0.5 kB a cell, 0.1 kB a first touch and 0.1 kB an id from outside.
    """

    def __init__(self, rulings: Sequence[Ruling] = (), known: Iterable[Touch] = ()) -> None:
        self.events = self.poison = self.repeated = 0
        self._reader = FrameReader()
        self._rulings = rulings
        self._stamp = 0
        self._newest_ms: dict[int, int] = {}
        self._seen: set[tuple[int, bytes | tuple[str, str]]] = set()
        self._by_minute: dict[tuple[int, Dimensions], tuple[Cell, Cell, Cell]] = {}
        self._cells: dict[tuple[str, int, Dimensions], Cell] = {}
        self._touched: dict[tuple[bytes, bytes, str, bool], set[bytes]] = {}
        self._fresh: list[tuple[bytes, bytes, bytes, str, bool, int]] = []
        for touch in known:
            group = (_wire(touch.run_id, 8), _wire(touch.channel_id, 4), touch.kind, touch.human)
            self._touched.setdefault(group, set()).add(_wire(touch.destination, 8))

    def add(self, partition: int, offset: int, appended_ms: int, value: bytes | None, headers: Headers) -> None:
        """Count one record; poison only as poison."""
        frame = self._reader.read(value)
        if frame is None:
            self.poison += 1
            return
        recorded_ms = frame["recorded_at"]
        anchor = max(0, min(recorded_ms, appended_ms + FUTURE_MS))
        newest = self._newest_ms.get(partition, NEVER_MS)
        is_new = self._is_new_frame(recorded_ms, headers)
        events = frame["events"]
        if not events:
            self._newest_ms[partition] = max(newest, 0, min(recorded_ms, appended_ms))
            return
        rulings = [ruling for ruling in self._rulings if ruling.covers(partition, offset)]
        latest, earliest = anchor + FUTURE_MS, anchor - PAST_MS
        for event in events:
            at = event["occurred_at"]
            if at > latest:
                at = anchor
            elif at < earliest:
                at = earliest
            newest = max(newest, at)
            if self._is_new(event["occurred_at"], event["event_id"]) if event["flags"][1] & 1 else is_new:
                self._count(event, _verdict(event, at, rulings) if rulings else event["verdict"], at, newest)
        self._newest_ms[partition] = newest

    def mark(self) -> int:
        """A stamp: `rows(since=stamp)` gives the cells that change from now on."""
        self._stamp += 1
        return self._stamp

    def rows(self, since: int = 0) -> Iterator[CellRow]:
        """The cells that were changed at or after a stamp; by default all."""
        for (grain, window_ms, dimensions), cell in self._cells.items():
            if cell.stamp >= since:
                publication_id, run_id, channel_id, arm, kind, verdict = dimensions
                yield CellRow(
                    grain, window_ms, _number(publication_id), _number(run_id), _number(channel_id), _number(arm),
                    kind, verdict,
                    cell.total, cell.uniques, cell.late, cell.first_ms, cell.last_ms,
                )  # fmt: skip

    def fresh_touches(self) -> list[Touch]:
        """The first touches that the log has shown since the last call."""
        fresh, self._fresh = self._fresh, []
        return [
            Touch(_number(run_id), _number(channel_id), _number(destination), kind, human, at)
            for run_id, channel_id, destination, kind, human, at in fresh
        ]

    def _is_new_frame(self, recorded_ms: int, headers: Headers) -> bool:
        named = {name: text for name, text in headers if text is not None}
        try:
            source, number = named["ce_source"].decode(), named["ce_id"].decode()
        except (KeyError, UnicodeDecodeError):
            return True
        return not source.startswith(REPEATING) or self._is_new(recorded_ms, (source, number))

    def _is_new(self, at_ms: int, number: bytes | tuple[str, str]) -> bool:
        key = (at_ms // DAY_MS, number)
        if key in self._seen:
            self.repeated += 1
            return False
        self._seen.add(key)
        return True

    def _count(self, event: Mapping[str, Any], verdict: str, at: int, newest: int) -> None:
        self.events += 1
        kind = event["kind"]
        dimensions = (event["publication_id"], event["run_id"], event["channel_id"], event["arm"], kind, verdict)
        is_first = kind in READER_KINDS and self._is_first_touch(event, kind, verdict == "human", at)
        key = (at // MINUTE_MS, dimensions)
        cells = self._by_minute.get(key)
        if cells is None:
            cells = self._by_minute[key] = self._windows_of(at, dimensions)
        mark, stamp = newest - LATENESS_MS, self._stamp
        for cell in cells:
            cell.total += 1
            cell.stamp = stamp
            if at < cell.first_ms:
                cell.first_ms = at
            elif at > cell.last_ms:
                cell.last_ms = at
            if cell.ends_ms <= mark:
                cell.late += 1
            if is_first:
                cell.uniques += 1

    def _windows_of(self, at: int, dimensions: Dimensions) -> tuple[Cell, Cell, Cell]:
        found = []
        for grain, width_ms in WIDTHS_MS.items():
            window_ms = at - at % width_ms
            key = (grain, window_ms, dimensions)
            if key not in self._cells:
                self._cells[key] = Cell(window_ms + width_ms, at)
            found.append(self._cells[key])
        return found[0], found[1], found[2]

    def _is_first_touch(self, event: Mapping[str, Any], kind: str, human: bool, at: int) -> bool:
        destination = event["destination"]
        if destination == NOBODY:
            return False
        readers = self._touched.setdefault((event["run_id"], event["channel_id"], kind, human), set())
        if destination in readers:
            return False
        readers.add(destination)
        self._fresh.append((event["run_id"], event["channel_id"], destination, kind, human, at))
        return True


def _verdict(event: Mapping[str, Any], at: int, rulings: Sequence[Ruling]) -> str:
    """The newest ruling's verdict on an event that rules have judged; its own where none covers its time."""
    if event["rule"] != NO_RULE:
        for ruling in rulings:
            if at >= ruling.since_ms:
                return ruling.verdict(event["agent"], event["network"], event["flags"])
    return str(event["verdict"])


def _wire(number: int, size: int) -> bytes:
    return number.to_bytes(size, "big", signed=True)


def _number(wire: bytes) -> int:
    return int.from_bytes(wire, "big", signed=True)
