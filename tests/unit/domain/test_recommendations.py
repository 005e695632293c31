"""Recommendations: each rule speaks at its threshold, is silent below it, and shows its numbers."""

import dataclasses
import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain import recommendations as rules
from publishing.domain.rates import wilson
from publishing.domain.recommendations import Evidence, Outcome, Readers, Recommendation, Sending, recommend

pytestmark = pytest.mark.unit

ENDS_AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
QUIET = Readers(
    channel_id=1,
    sample_of=1,
    messages_before=9_000,
    readers_before=1_000,
    messages=4_000,
    readers=1_000,
    engaged=900,
    regular=1_000,
    never_engaged=50,
    lapsed=50,
    bounced_active=0,
)


def sending(run_id: int, sent_at: dt.datetime, **changes: Any) -> Sending:
    """A run of 1,000 messages that 200 readers opened."""
    found = Sending(
        publication_id=12,
        run_id=run_id,
        channel_id=1,
        channel_kind="email",
        sent_at=sent_at,
        accepted=1_000,
        delivered=0,
        opened=200,
        bounced=0,
        complained=0,
    )
    return dataclasses.replace(found, **changes)


def evidence(
    sendings: list[Sending] | None = None,
    outcomes: list[Outcome] | None = None,
    readers: list[Readers] | None = None,
) -> Evidence:
    """Evidence that ends on the first of June."""
    starts_at = ENDS_AT - dt.timedelta(days=7)
    return Evidence(
        starts_at=starts_at, ends_at=ENDS_AT, sendings=sendings or [], outcomes=outcomes or [], readers=readers or []
    )


def by_hours(opened_at_nine: int, runs: int = 3, accepted: int = 1_000) -> list[Sending]:
    """Runs at 9:00 and at 15:00 of successive Mondays and Tuesdays; those at 15:00 are opened by 20 %."""
    first = dt.datetime(2026, 4, 6, tzinfo=dt.UTC)
    made = []
    for week in range(runs):
        at = first + dt.timedelta(weeks=week)
        made.append(sending(2 * week, at.replace(hour=9), accepted=accepted, opened=opened_at_nine))
        made.append(sending(2 * week + 1, at.replace(hour=15), accepted=accepted, opened=accepted // 5))
    return made


def test_no_evidence_no_recommendation() -> None:
    """Nothing follows from nothing."""
    assert recommend(evidence()) == []


def test_best_hour() -> None:
    """An hour that is opened beyond the usual is named with the numbers that say so."""
    (found,) = rules.best_hour(evidence(by_hours(300)))
    low, high = wilson(900, 3_000, found.evidence["z"])
    assert found.evidence["hour"] == 9
    assert found.evidence["open"] == {"count": 900, "of": 3_000, "ratio": 0.3, "low": low, "high": high}
    assert (found.evidence["overall"]["count"], found.evidence["overall"]["of"]) == (1_500, 6_000)
    assert (found.evidence["runs"], found.evidence["overall_runs"], found.evidence["compared"]) == (3, 6, 2)
    # Two hours compared: 97.5 % each.
    assert found.evidence["z"] == pytest.approx(2.2414, abs=1e-4)
    assert "at 09:00 UTC" in found.action


@pytest.mark.parametrize(
    "sendings",
    [
        by_hours(210),
        by_hours(300, runs=2),
        by_hours(90, accepted=300),
        [one for one in by_hours(300) if one.sent_at.hour == 9],
        [dataclasses.replace(one, sent_at=ENDS_AT - dt.timedelta(hours=one.sent_at.hour)) for one in by_hours(300)],
    ],
    ids=["no more than usual", "two runs", "few readers", "nothing to compare", "too young"],
)
def test_no_best_hour(sendings: list[Sending]) -> None:
    """Chance, two runs, few readers, one hour alone and runs of yesterday recommend nothing."""
    assert list(rules.best_hour(evidence(sendings))) == []


def by_weeks(*opened: int, accepted: int = 1_000) -> list[Sending]:
    """A run each Monday, opened by so many."""
    first = dt.datetime(2026, 4, 6, 9, tzinfo=dt.UTC)
    return [
        sending(week, first + dt.timedelta(weeks=week), opened=count, accepted=accepted)
        for week, count in enumerate(opened)
    ]


def test_an_audience_tires() -> None:
    """An open rate that falls four weeks in a row, beyond chance, is named with each week's numbers."""
    (found,) = rules.tired_audience(evidence(by_weeks(400, 300, 280, 260, 230)))
    weeks = found.evidence["weeks"]
    assert [one["open"]["count"] for one in weeks] == [300, 280, 260, 230]
    assert weeks[0]["week"] == "2026-04-13"
    assert (found.evidence["sign"], found.evidence["publication_id"]) == ("open_rate_falls", 12)
    assert "from 30.0% to 23.0%" in found.action


@pytest.mark.parametrize(
    "sendings",
    [
        by_weeks(300, 280, 260),
        by_weeks(300, 280, 281, 230),
        by_weeks(230, 225, 220, 215),
        by_weeks(30, 28, 26, 9, accepted=99),
    ],
    ids=["three weeks", "a week that rises", "within chance", "few readers"],
)
def test_an_audience_does_not_tire(sendings: list[Sending]) -> None:
    """Three weeks, a rise between, chance, and few readers recommend nothing."""
    assert list(rules.tired_audience(evidence(sendings))) == []


def test_messages_rise() -> None:
    """Half as much again to each reader is named; a little less is not."""
    # 62 days before: 9,000 to 1,000 readers are 1.016 a week; 28 days: 6,100 are 1.525.
    (found,) = rules.tired_audience(evidence(readers=[dataclasses.replace(QUIET, messages=6_100)]))
    assert found.evidence["sign"] == "messages_rise"
    assert found.evidence["per_reader_and_week"] == pytest.approx(1.525)
    assert found.evidence["per_reader_and_week_before"] == pytest.approx(9 / 62 * 7)
    assert not list(rules.tired_audience(evidence(readers=[dataclasses.replace(QUIET, messages=6_000)])))
    few = dataclasses.replace(QUIET, messages=900, readers=rules.MIN_READERS - 1)
    assert not list(rules.tired_audience(evidence(readers=[few])))


def test_a_channel_underdelivers() -> None:
    """A channel whose success lies below all others together, beyond chance and by a point, is named."""
    others = [Outcome(channel_id=2, succeeded=990, settled=1_000), Outcome(channel_id=3, succeeded=995, settled=1_000)]
    (found,) = rules.channel_underdelivers(
        evidence(outcomes=[Outcome(channel_id=1, succeeded=950, settled=1_000), *others])
    )
    assert found.evidence["channel_id"] == 1
    assert (found.evidence["success"]["count"], found.evidence["others"]["count"]) == (950, 1_985)
    for succeeded, settled in [(985, 1_000), (900, 999), (996_000, 1_004_000)]:
        mine = Outcome(channel_id=1, succeeded=succeeded, settled=settled)
        assert not list(rules.channel_underdelivers(evidence(outcomes=[mine, *others])))
    assert not list(rules.channel_underdelivers(evidence(outcomes=[Outcome(channel_id=1, succeeded=0, settled=9_999)])))


@pytest.mark.parametrize(
    ("changes", "sign"),
    [
        ({"bounced": 50}, "bounce"),
        ({"bounced": 49}, None),
        ({"bounced": 500, "channel_kind": "slack"}, None),
        ({"accepted": 999, "bounced": 500}, None),
        ({"accepted": 5_000, "complained": 5}, "complaint"),
        ({"accepted": 5_001, "complained": 5}, None),
        ({"complained": 4}, None),
    ],
)
def test_reputation_at_ses(changes: dict[str, Any], sign: str | None) -> None:
    """The rates at which Amazon SES reviews an account are named at the rate itself, of e-mail, on enough messages."""
    one = sending(1, ENDS_AT - dt.timedelta(days=9), **changes)
    assert [found.evidence["sign"] for found in rules.channel_underdelivers(evidence([one]))] == (
        [sign] if sign else []
    )


@pytest.mark.parametrize(
    ("changes", "signs"),
    [
        ({}, []),
        ({"never_engaged": 300}, ["never_engaged"]),
        ({"lapsed": 300}, ["lapsed"]),
        ({"never_engaged": 210}, []),
        ({"never_engaged": 199, "regular": 199}, []),
        ({"never_engaged": 1_000, "engaged": 0}, []),
        ({"bounced_active": 1}, ["bounced_active"]),
    ],
)
def test_list_hygiene(changes: dict[str, int], signs: list[str]) -> None:
    """Silence counts beyond a fifth for sure, of enough readers, and only where somebody is seen to engage."""
    found = list(rules.list_hygiene(evidence(readers=[dataclasses.replace(QUIET, **changes)])))
    assert [one.evidence["sign"] for one in found] == signs


NUMBERS = st.integers(0, 3_000)


@given(
    st.lists(
        st.builds(
            sending,
            st.integers(1, 9),
            st.datetimes(dt.datetime(2026, 3, 3), dt.datetime(2026, 5, 31), timezones=st.just(dt.UTC)),  # noqa: DTZ001  - bounds
            accepted=NUMBERS,
            opened=NUMBERS,
            bounced=NUMBERS,
            complained=NUMBERS,
            channel_id=st.integers(1, 2),
        ),
        max_size=30,
    )
)
def test_any_evidence_can_be_looked_at(sendings: list[Sending]) -> None:
    """Whatever was counted, in whatever order it comes, the rules say the same, and name the channel."""
    found = recommend(evidence(sendings))
    assert sorted(map(repr, found)) == sorted(map(repr, recommend(evidence(sendings[::-1]))))
    assert all(isinstance(one, Recommendation) and one.evidence["channel_id"] in {1, 2} for one in found)
