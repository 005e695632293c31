"""The demo's own rules: its content, its readers, and comparisons that must be able to fail."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from publishing.cli.demonstration import oracles, summary
from publishing.cli.demonstration.articles import THEMES, articles, topics_of
from publishing.cli.demonstration.people import people
from publishing.cli.demonstration.pipeline import NotSettledError, until
from publishing.cli.demonstration.run import most_in_flight, number_of
from publishing.cli.replaying.coverage import Coverage
from publishing.cli.replaying.recounting import Outcome
from publishing.stores.evidence import Cell, Conservation, DeliveryKey

pytestmark = pytest.mark.unit

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
MINUTE = NOW.replace(second=0)
KEY = DeliveryKey("email", 1, 2, 3)


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


def test_the_aggregates_fail_on_any_difference() -> None:
    """A cell that differs, no cell at all and a log that was not all applied each fail the demo."""
    equal = Outcome(0, cells=3, events=1, poison=0, partitions={0: 1}, coverage=Coverage(0, 0))
    assert oracles.aggregates(equal).holds
    assert oracles.aggregates(equal).facts == {"equal": True, "cells": 3, "events": 1}
    wrong = {"grain": "day", "kind": "opened", "verdict": "human"}
    assert not oracles.aggregates(replace(equal, different=1, differences=[wrong])).holds
    assert not oracles.aggregates(replace(equal, cells=0)).holds
    assert not oracles.aggregates(None).holds


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
