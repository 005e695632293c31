"""The demo's own rules: its content, its readers, its recount, and comparisons that must be able to fail."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publishing.cli.demonstration import oracles, summary
from publishing.cli.demonstration.articles import THEMES, articles, topics_of
from publishing.cli.demonstration.people import people
from publishing.cli.demonstration.pipeline import NotSettledError, until
from publishing.cli.demonstration.recount import Recount, windows_of
from publishing.cli.demonstration.run import most_in_flight, number_of
from publishing.stores.evidence import Cell, Conservation, DeliveryKey

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MINUTE = NOW.replace(second=0)
KEY = DeliveryKey("email", 1, 2, 3)


def event(**changes: Any) -> dict[str, Any]:
    """A decoded event as a generic reader gives it."""
    fields: dict[str, Any] = {
        "event_id": bytes(16), "occurred_at": NOW, "kind": "opened", "verdict": "human", "arm": 0, "flags": 0,
        "run_id": 1, "publication_id": 9, "channel_id": 2, "destination": 3,
    }  # fmt: skip
    return fields | changes


def cell(**changes: Any) -> Cell:
    """The minute cell of one human open."""
    row = Cell("minute", MINUTE, 9, 1, 2, 0, "opened", "human", 1, 1, 0, 0)
    return row._replace(**changes)


def run(**changes: Any) -> Conservation:
    """A run that holds."""
    return Conservation(1, 3, {"no_content": 1}, 2, 0, {"accepted": 2}, planned_by_all=True, holds=True)._replace(
        **changes
    )


def test_every_article_of_the_standard_library_is_content() -> None:
    """Each topic of the language reference becomes one article with a title, a summary and weighted themes."""
    found = articles(NOW)
    assert len(found) > 70
    assert len({item.id for item in found}) == len(found)
    assert all(item.title and item.summary and len(item.summary) <= 281 for item in found)
    assert all(set(item.topics) <= set(THEMES) and all(0 < w <= 1 for w in item.topics.values()) for item in found)
    assert found[1].published_at == NOW - timedelta(hours=1)


def test_the_strongest_theme_weighs_one() -> None:
    """Weights are relative to the theme that a text speaks of most; ties go by name."""
    assert topics_of("import a module, import a package; raise an exception") == {
        "imports": 1.0, "exceptions": 0.5,
    }  # fmt: skip
    assert topics_of("nothing here") == {}


def test_readers_are_the_same_for_a_seed() -> None:
    """Two demos with one seed have the same audience."""
    assert people(20, 1) == people(20, 1) != people(20, 2)
    assert all(2 <= len(person["topics"]) <= 4 for person in people(20, 1))


def test_windows_are_utc_minutes_hours_and_days() -> None:
    """An event falls in one window of each grain."""
    assert dict(windows_of(NOW)) == {
        "minute": MINUTE, "hour": MINUTE.replace(minute=0), "day": MINUTE.replace(minute=0, hour=0),
    }  # fmt: skip


def test_the_recount_counts_a_repeated_frame_of_the_ledger_once() -> None:
    """A receipt frame sent twice and a repeated outside id count once; plain hits count as they come."""
    counted = Recount()
    for _ in range(2):
        counted.add_frame({"events": [event(kind="accepted")]}, source="tidewire/ledger", number="7")
        counted.add_frame({"events": [event(flags=1, event_id=b"x" * 16)]}, source=None, number=None)
        counted.add_frame({"events": [event(kind="clicked")]}, source="tidewire-collector", number="7")
    day = MINUTE.replace(minute=0, hour=0)
    totals = {(key[6], number) for key, number in counted.totals.items() if key[1] == day}
    assert totals == {("accepted", 1), ("opened", 1), ("clicked", 2)}
    assert (counted.events, counted.repeated) == (4, 2)


def test_a_machine_open_does_not_eat_the_human_one() -> None:
    """Uniques count the first human touch and the first machine touch apart."""
    counted = Recount()
    counted.add_frame(
        {"events": [event(verdict="machine"), event(), event(), event(destination=4)]}, source=None, number=None
    )
    uniques = {key[7]: number for key, number in counted.uniques.items() if key[0] == "day"}
    assert uniques == {"machine": 1, "human": 2}


@pytest.mark.parametrize(
    "changes",
    [{"holds": False}, {"planned_by_all": False}, {"unclaimed": 1}, {"by_state": {"accepted": 1, "submitted": 1}}],
)
def test_conservation_fails_on_each_of_its_parts(changes: dict[str, Any]) -> None:
    """A broken law, a missing shard, an unclaimed delivery or a state that is not terminal fails the demo."""
    assert oracles.conservation([run()]).holds
    assert not oracles.conservation([run(), run(**changes)]).holds
    assert not oracles.conservation([]).holds


def test_the_provider_log_fails_on_loss_invention_and_repetition() -> None:
    """Accepted but not logged, logged but not accepted, logged twice: each fails; what is in doubt may be either."""
    logged = [("email", (1, 2, 3))]
    assert oracles.provider_log({KEY}, set(), logged).holds
    assert oracles.provider_log(set(), {KEY}, logged).holds
    assert oracles.provider_log(set(), {KEY}, []).holds
    assert not oracles.provider_log({KEY}, set(), []).holds
    assert not oracles.provider_log(set(), set(), logged).holds
    assert not oracles.provider_log({KEY}, set(), logged * 2).holds
    assert not oracles.provider_log({KEY}, set(), [*logged, ("email", number_of("no key at all"))]).holds
    assert number_of("dlv_1_2_3") == number_of("1-2-3") == (1, 2, 3)


def test_every_matching_article_goes_to_every_room_once() -> None:
    """A missing room, a missing article, a second copy or a foreign article fails the demo."""
    room = (1, "slack")
    assert oracles.rooms({room: {5: 1}}, {5}, 1).holds
    rooms: list[dict[tuple[int, str], dict[int, int]]] = [{}, {room: {}}, {room: {5: 2}}, {room: {5: 1, 6: 1}}]
    for wrong in rooms:
        assert not oracles.rooms(wrong, {5}, 1).holds
    assert not oracles.rooms({}, set(), 0).holds


def test_the_aggregates_fail_on_any_cell() -> None:
    """A wrong total, a wrong unique, a missing and an extra cell each fail the demo."""
    counted = Recount(totals=Counter({cell()[:8]: 1}), uniques=Counter({cell()[:8]: 1}), events=1)
    assert oracles.aggregates([cell()], counted).holds
    for wrong in ([cell(total=2)], [cell(uniques=0)], [], [cell(), cell(kind="clicked")]):
        assert not oracles.aggregates(wrong, counted).holds


def test_the_readers_log_allows_only_lost_answers(tmp_path: Path) -> None:
    """Counted hits lie between those answered and those tried."""
    log = tmp_path / "readers.ndjson"
    lines = [{"kind": "opened", "answered": True}, {"kind": "opened", "answered": False}]
    log.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    assert oracles.readers([cell(grain="day")], log).holds
    assert oracles.readers([cell(grain="day", total=2)], log).holds
    assert not oracles.readers([cell(grain="day", total=3)], log).holds
    assert not oracles.readers([], log).holds


def test_the_small_comparisons_can_fail() -> None:
    """A buried record, a delivery in doubt and a missing mail each fail the demo."""
    assert oracles.dead_letters({"a": 0}).holds
    assert not oracles.dead_letters({"a": 1}).holds
    assert oracles.doubt({KEY}, {"email": 1}).holds
    assert not oracles.doubt({KEY, KEY._replace(destination=4)}, {"email": 1}).holds
    assert not oracles.doubt({KEY}, {}).holds
    assert most_in_flight()["email"] == 400  # a burst of 50 in each of 8 partitions
    assert oracles.mails({"email": {"accepted": 2}}, 2, 0).holds
    assert not oracles.mails({"email": {"accepted": 1}}, 2, 0).holds
    assert oracles.mails({"email": {"accepted": 1}}, 2, 1).holds


def test_what_is_not_settled_is_named() -> None:
    """Waiting ends when every run is planned and terminal, and says by run what it waits for."""
    assert oracles.unsettled([run()]) == {}
    assert oracles.unsettled([run(unclaimed=1)]) == {1: {"accepted": 2, "unclaimed": 1, "planned_by_all": True}}


async def test_waiting_in_vain_is_an_error() -> None:
    """A demo that is stuck ends with what it waited for."""

    async def never() -> object:
        return "3 left"

    with pytest.raises(NotSettledError, match="3 left"):
        await until("deliveries", 0.0, never)


def test_percentiles_are_by_nearest_rank() -> None:
    """p50 of 1..100 is 50 and p95 is 95; of nothing there is none."""
    ascending = [float(number) for number in range(1, 101)]
    assert summary.latency(ascending) == {"p50": 50.0, "p95": 95.0}
    assert summary.latency([]) == {"p50": None, "p95": None}


def test_the_summary_adds_up_by_minute(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Windows are summed over runs and channels, and both forms of the summary show them."""
    rows = summary.windows([cell(), cell(run_id=5, total=4), cell(grain="day")])
    assert [(row["total"], row["uniques"]) for row in rows] == [(5, 2)]
    verdict = oracles.Verdict("dead letters", holds=False, found="1 records")
    facts = {
        "deliveries": {"email": {"accepted": 2}}, "windows": rows, "restarts": {"api": 1},
        "alert_latency_ms": {"p50": 1.0, "p95": 2.0},
    }  # fmt: skip
    summary.show(facts, [verdict])
    printed = capsys.readouterr().out
    assert "accepted 2" in printed
    assert "Restarts: api 1" in printed
    assert "BROKEN  dead letters" in printed
    summary.write(tmp_path / "demo" / "summary.json", facts)
    assert json.loads((tmp_path / "demo" / "summary.json").read_text())["windows"][0]["total"] == 5
