"""The recount engine against the domain's folding: two implementations that share no code must agree."""

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from publishing.cli.replaying.counting import NEVER_MS, Recount, Touch
from publishing.cli.replaying.coverage import covered
from publishing.cli.replaying.frames import FrameReader
from publishing.cli.replaying.rulings import Ruling
from publishing.cli.verdicts import day_of
from publishing.domain.verdict_rules import RULES, as_json, decide
from publishing.domain.windows import DAY_MS, GRAINS, HOUR_MS, NO_WATERMARK, WIDTH_MS, Folded, Frame, fold, frame_id
from schemas.errors import SchemaError
from schemas.frames import (
    AGENTS,
    KIND_INDEX,
    KINDS,
    NETWORKS,
    VERDICT_INDEX,
    VERDICTS,
    decode_frame,
    encode_frame,
    new_events,
)
from schemas.messages import EngagementKind, Verdict

pytestmark = pytest.mark.unit

NOON_MS = 1_790_000_000_000 // DAY_MS * DAY_MS + 12 * HOUR_MS
MINUTE_MS = 60_000
OPENED, CLICKED = KIND_INDEX[EngagementKind.OPENED], KIND_INDEX[EngagementKind.CLICKED]
HUMAN, MACHINE = VERDICT_INDEX[Verdict.HUMAN], VERDICT_INDEX[Verdict.MACHINE]

Row = dict[str, int]
Record = tuple[bytes, int, str | None]
"""The payload, the append time in ms, and the number of a frame of the ledger."""


def payload_of(rows: Sequence[Row], recorded_at_ms: int = NOON_MS) -> bytes:
    """A frame of events given by their fields; times default to the recording's."""
    events = new_events(len(rows))
    for place, row in enumerate(rows):
        events["occurred_at"][place] = row.get("occurred_at", recorded_at_ms)
        for name, value in row.items():
            if name == "event_id":
                events["event_id"][place, 0] = value
            elif name != "occurred_at":
                events[name][place] = value
    return encode_frame("tests", recorded_at_ms, events)


def headers_of(number: str | None) -> list[tuple[str, bytes]]:
    """The headers of a frame of the ledger."""
    return [] if number is None else [("ce_source", b"tidewire/ledger"), ("ce_id", number.encode())]


def recounted(records: Sequence[Record], **known: Any) -> Recount:
    """The engine's count of one partition's log."""
    count = Recount(**known)
    for offset, (payload, appended_ms, number) in enumerate(records):
        count.add(0, offset, appended_ms, payload, headers_of(number))
    return count


def rows_of(count: Recount) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """The engine's cells by key."""
    return {row[:8]: row[8:] for row in count.rows()}


class Tables:
    """What the app's statement does with folded batches, in dictionaries."""

    def __init__(self) -> None:
        """Start empty."""
        self.seen: set[tuple[int, bytes]] = set()
        self.engaged: set[tuple[Any, ...]] = set()
        self.cells: dict[tuple[Any, ...], list[int]] = {}

    def apply(self, folded: Folded) -> None:
        """Apply one batch."""
        counted = {0}
        for unit, day, number in zip(*folded.ids.values(), strict=True):
            if (day, number) not in self.seen:
                self.seen.add((day, number))
                counted.add(unit)
        dimensions = rows_in(folded.dimensions)
        for row in rows_in(folded.cells):
            if row["unit"] in counted:
                late = row["total"] if row["late_frame"] >= 0 else 0
                key = (row["grain"], row["window_ms"], *dimensions[row["group"]].values())
                self.add(key, (row["total"], 0, late, row["first_ms"], row["last_ms"]))
        for row in sorted(rows_in(folded.touches), key=lambda row: int(row["place"])):
            group = dimensions[row["group"]]
            reader = (
                group["run_id"], group["channel_id"], row["destination"], group["kind"], group["verdict"] == "human"
            )  # fmt: skip
            if row["unit"] in counted and reader not in self.engaged:
                self.engaged.add(reader)
                for grain in GRAINS:
                    window_ms = row["at_ms"] // WIDTH_MS[grain] * WIDTH_MS[grain]
                    key = (str(grain), window_ms, *group.values())
                    self.add(key, (0, 1, 0, row["at_ms"], row["at_ms"]))

    def add(self, key: tuple[Any, ...], change: tuple[int, int, int, int, int]) -> None:
        """Add a change to a cell."""
        cell = self.cells.setdefault(key, [0, 0, 0, change[3], change[4]])
        for place in range(3):
            cell[place] += change[place]
        cell[3], cell[4] = min(cell[3], change[3]), max(cell[4], change[4])


def rows_in(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Columns as rows."""
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def folded(records: Sequence[Record], cuts: set[int]) -> Tables:
    """The log through the domain, cut into batches."""
    frames = [frame_of(*record) for record in records]
    tables, mark = Tables(), NO_WATERMARK
    for low, high in itertools.pairwise(sorted({0, len(frames), *(cut for cut in cuts if cut < len(frames))})):
        batch = fold(frames[low:high], mark)
        tables.apply(batch)
        mark = batch.watermark_ms
    return tables


def frame_of(payload: bytes, appended_ms: int, number: str | None) -> Frame:
    """A record as the app decodes it."""
    frame = decode_frame(payload)
    identity = None if number is None else frame_id("tidewire/ledger", number)
    return Frame(frame.events, frame.recorded_at_ms, appended_ms, identity)


EVENTS = st.fixed_dictionaries(
    {
        "occurred_at": st.sampled_from(
            [-2 * HOUR_MS, -6 * MINUTE_MS, -5 * MINUTE_MS, -1, 0, MINUTE_MS, HOUR_MS, 23 * HOUR_MS]
        )
        .flatmap(lambda ahead: st.integers(ahead, ahead + MINUTE_MS))
        .map(lambda ahead: NOON_MS + ahead)
        | st.sampled_from([0, NOON_MS + 3 * DAY_MS, NOON_MS - 60 * DAY_MS]),
        "kind": st.integers(0, len(KINDS) - 1) | st.just(OPENED),
        "verdict": st.integers(0, len(VERDICTS) - 1),
        "flags": st.sampled_from([0, 0, 1, 3]),
        "event_id": st.integers(0, 3),
        "arm": st.integers(-1, 1),
        "run_id": st.integers(0, 2),
        "publication_id": st.integers(0, 1),
        "channel_id": st.integers(0, 1),
        "destination": st.integers(0, 2),
    }
)
RECORDED = st.sampled_from(
    [NOON_MS, NOON_MS + MINUTE_MS, NOON_MS + 7 * MINUTE_MS, NOON_MS + DAY_MS, NOON_MS + 9 * DAY_MS]
)
RECORDS = st.tuples(
    st.builds(payload_of, st.lists(EVENTS, max_size=6), RECORDED),
    st.sampled_from([NOON_MS, NOON_MS + MINUTE_MS]),
    st.sampled_from([None, None, "1", "2"]),
)


@settings(max_examples=50, deadline=None)
@given(records=st.lists(RECORDS, max_size=8), cuts=st.sets(st.integers(1, 7)))
@example(records=[(payload_of([], NOON_MS + HOUR_MS), NOON_MS, None), (payload_of([{}]), NOON_MS, None)], cuts=set())
def test_the_engine_agrees_with_the_domain(records: list[Record], cuts: set[int]) -> None:
    """Cells and first touches of any log are the same, event by event and folded in any batches."""
    tables, count = folded(records, cuts), recounted(records)
    assert rows_of(count) == {key: tuple(cell) for key, cell in tables.cells.items()}
    assert {touch[:5] for touch in count.fresh_touches()} == tables.engaged


def test_only_what_changed_is_given_again() -> None:
    """After a mark the rows are those of the cells that were counted in since."""
    count = recounted([(payload_of([{"kind": OPENED}]), NOON_MS, None)])
    assert len(list(count.rows())) == 3
    mark = count.mark()
    count.add(0, 1, NOON_MS, payload_of([{"kind": OPENED, "occurred_at": NOON_MS + MINUTE_MS}]), [])
    changed = {(row.grain, row.total) for row in count.rows(since=mark)}
    assert changed == {("minute", 1), ("hour", 2), ("day", 2)}
    assert len(list(count.rows())) == 4


def test_a_touch_that_is_known_is_not_the_first() -> None:
    """A reader whose first touch is older than the log makes no second one."""
    rows = [{"kind": OPENED, "destination": 5, "run_id": 2, "channel_id": 3, "verdict": HUMAN}]
    known = [Touch(2, 3, 5, "opened", human, 0) for human in (True, False)]
    for older, uniques in ((known[:1], 0), (known[1:], 1)):
        count = recounted([(payload_of(rows), NOON_MS, None)], known=older)
        assert {row.uniques for row in count.rows()} == {uniques}


@pytest.mark.parametrize("broken", [None, b"", b"\x00\x00\x00\x00\x06", b"\x01" * 40, payload_of([{}])[:-1]])
def test_what_no_reader_decodes_is_poison(broken: bytes | None) -> None:
    """A record without a value, with a foreign framing, cut or with a tail is counted as poison and nowhere else."""
    count = Recount()
    count.add(0, 0, NOON_MS, broken, [])
    assert (count.poison, count.events, list(count.rows())) == (1, 0, [])


@settings(max_examples=50, deadline=None)
@given(payload=st.binary(max_size=40) | st.binary(max_size=60).map(lambda tail: payload_of([{}])[:20] + tail))
@example(payload=payload_of([{}]) + b"\x00")
@example(payload=b"\x00\x00\x00\x00\x07" + payload_of([{}])[5:])
@example(payload=payload_of([{}]).replace(b"tests", b"te\x00ts"))
@example(payload=bytes(1_000_001))
def test_poison_is_what_the_app_buries(payload: bytes) -> None:
    """The generic reader refuses exactly the payloads that the codec refuses."""
    try:
        decode_frame(payload)
    except SchemaError:
        assert FrameReader().read(payload) is None
    else:
        assert FrameReader().read(payload) is not None


EVIDENCE = [
    (agent, network, flags) for agent in AGENTS for network in NETWORKS for flags in (0, 2, 4, 8, 16, 32, 64, 20)
]


def test_rules_in_their_json_form_decide_as_in_the_domain() -> None:
    """For any evidence the first rule that applies gives the verdict, whether read from JSON or from the domain."""
    ruling = Ruling(as_json(RULES), NEVER_MS, None)
    for agent, network, flags in EVIDENCE:
        expected = decide(agent, network, flags)[0].value
        assert ruling.verdict(agent.value, network.value, flags.to_bytes(2, "big")) == expected
    assert Ruling([], NEVER_MS, None).verdict("bot", "unknown", bytes(2)) == "unknown"


MACHINES = [{"number": 1, "verdict": "machine", "agents": None, "networks": None, "any_flags": 0}]
HUMANS = [{"number": 2, "verdict": "human", "agents": None, "networks": None, "any_flags": 0}]


def verdicts(count: Recount) -> dict[str, tuple[int, int]]:
    """Total and uniques of the day's windows by verdict."""
    found: dict[str, tuple[int, int]] = {}
    for row in count.rows():
        if row.grain == "day":
            total, uniques = found.get(row.verdict, (0, 0))
            found[row.verdict] = (total + row.total, uniques + row.uniques)
    return found


def test_the_newest_ruling_that_covers_an_event_decides() -> None:
    """By offset and by time; an event that no rule has judged, as a receipt, keeps its own verdict."""
    day_ms = NOON_MS - 12 * HOUR_MS
    judged = {"kind": OPENED, "rule": 8, "verdict": HUMAN, "destination": 4}
    records: list[Record] = [
        (payload_of([judged, judged | {"occurred_at": day_ms - 1}]), NOON_MS, None),
        (payload_of([judged | {"destination": 5}]), NOON_MS, None),
        (payload_of([judged | {"destination": 6}, {"kind": OPENED}]), NOON_MS, None),
    ]
    rulings = [Ruling(MACHINES, day_ms, {0: 1}), Ruling(HUMANS, day_ms, {0: 2}), Ruling(MACHINES, NEVER_MS, {1: 9})]
    assert verdicts(recounted(records, rulings=rulings)) == {"machine": (1, 1), "human": (3, 3), "unknown": (1, 0)}


def test_a_prefetch_that_is_judged_a_machine_gives_the_open_back_to_the_reader() -> None:
    """Uniques by human and machine are recomputed with the verdicts: the later human touch becomes the first."""
    scan = {"kind": OPENED, "rule": 8, "verdict": HUMAN, "destination": 4, "agent": 4}
    records: list[Record] = [
        (payload_of([scan, scan | {"agent": 1, "occurred_at": NOON_MS + MINUTE_MS}]), NOON_MS, None)
    ]
    assert verdicts(recounted(records)) == {"human": (2, 1)}
    ruling = Ruling(as_json(RULES), NEVER_MS, None)
    assert verdicts(recounted(records, rulings=[ruling])) == {"human": (1, 1), "machine": (1, 1)}


def test_a_log_that_was_cut_covers_what_begins_two_days_after_its_oldest_record() -> None:
    """The youngest beginning of all partitions counts; a whole log covers everything but minutes that may go."""
    thirteen_days_ms = NOON_MS - 12 * HOUR_MS - 13 * DAY_MS
    assert covered([], NOON_MS) == (thirteen_days_ms, NEVER_MS)
    assert covered([NOON_MS - 20 * DAY_MS, NOON_MS - 18 * DAY_MS], NOON_MS) == (thirteen_days_ms, NOON_MS - 16 * DAY_MS)
    assert covered([NOON_MS], NOON_MS) == (NOON_MS + 2 * DAY_MS, NOON_MS + 2 * DAY_MS)


@pytest.mark.parametrize(
    ("since", "day"),
    [("2026-05-04", 4), ("2026-05-04T23:59:59", 4), ("2026-05-04T23:59:59-02:00", 5), ("2026-05-04T00:00:00+01:00", 3)],
)
def test_since_is_the_beginning_of_a_utc_day(since: str, day: int) -> None:
    """A time is floored to its UTC day; one without a zone is UTC."""
    assert day_of(datetime.fromisoformat(since)) == datetime(2026, 5, day, tzinfo=UTC)


def test_numbers_keep_their_sign() -> None:
    """A fixed is a signed number, as the decimal logical type has it."""
    events = new_events(1)
    events["arm"], events["occurred_at"], events["run_id"] = -3, NOON_MS, np.int64(10**17)
    (row,) = [
        row for row in recounted([(encode_frame("t", NOON_MS, events), NOON_MS, None)]).rows() if row.grain == "day"
    ]
    assert (row.arm, row.run_id) == (-3, 10**17)
