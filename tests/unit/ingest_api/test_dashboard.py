"""The dashboard's pure parts: what is asked, what is counted, how it is spelled, and who may see it."""

import datetime as dt
from typing import Any
from urllib.parse import parse_qsl, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.auth import PREFIX
from ingest_api.dashboard import assets, figures, pages, session
from ingest_api.dashboard.lag import Ends, lags
from ingest_api.dashboard.view import GRAINS, MAX_POINTS, PERIODS, VERDICTS, read

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 11, 24, 14, 35, 12, tzinfo=dt.UTC)
WORDS = st.sampled_from(
    ["", "hour", "day", "week", "minute", "month", "dates", "human", "all", "2026-11-01", "9", "٣", "x"]
)


@given(st.dictionaries(st.sampled_from(["period", "grain", "verdict", "publication", "from", "to"]), WORDS))
def test_any_address_is_a_view(asked: dict[str, str]) -> None:
    """Whatever is asked gives whole windows of a grain, not too many, and an address that gives the same view."""
    view = read(asked, NOW)
    assert view.verdict in VERDICTS
    assert 2 <= (view.ends_at - view.starts_at) / GRAINS[view.grain] <= MAX_POINTS
    assert (view.starts_at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) % GRAINS[view.grain] == dt.timedelta()
    assert read(dict(parse_qsl(view.query)), NOW) == view


@pytest.mark.parametrize(
    ("asked", "grain", "starts_at"),
    [
        ({}, "hour", dt.datetime(2026, 11, 17, 15, tzinfo=dt.UTC)),
        ({"period": "hour"}, "minute", dt.datetime(2026, 11, 24, 13, 36, tzinfo=dt.UTC)),
        ({"period": "month"}, "day", dt.datetime(2026, 10, 26, tzinfo=dt.UTC)),
        ({"period": "month", "grain": "minute"}, "day", dt.datetime(2026, 10, 26, tzinfo=dt.UTC)),
        ({"from": "2026-11-01", "to": "2026-11-02"}, "hour", dt.datetime(2026, 11, 1, tzinfo=dt.UTC)),
        ({"from": "2026-11-02", "to": "2026-11-01"}, "hour", dt.datetime(2026, 11, 17, 15, tzinfo=dt.UTC)),
        (
            {"period": "week", "from": "2026-11-01", "to": "2026-11-02"},
            "hour",
            dt.datetime(2026, 11, 17, 15, tzinfo=dt.UTC),
        ),
    ],
)
def test_a_period_has_the_grain_that_suits_it(asked: dict[str, str], grain: str, starts_at: dt.datetime) -> None:
    """The window at hand is the last; a preset wins over dates, a grain that does not fit is left."""
    view = read(asked, NOW)
    assert (view.grain, view.starts_at) == (grain, starts_at)
    assert len(PERIODS) == 4


ROWS = [
    {"kind": "accepted", "verdict": "unknown", "total": 90, "uniques": 0},
    {"kind": "opened", "verdict": "human", "total": 50, "uniques": 30},
    {"kind": "opened", "verdict": "machine", "total": 20, "uniques": 15},
]


def test_the_funnel_keeps_people_and_machines_apart() -> None:
    """A verdict narrows what readers do and never what providers report; ratios are of what was planned."""
    for only, opened in (("human", 30), ("machine", 15), (None, 45)):
        steps = {step.key: step for step in figures.funnel(ROWS, 100, only)}
        assert (steps["planned"].count, steps["accepted"].count, steps["opened"].count) == (100, 90, opened)
        assert steps["opened"].of_planned == opened / 100
    assert all(step.of_widest == 0 and step.of_planned is None for step in figures.funnel([], 0, None))


def test_a_channel_succeeds_with_what_did_not_bounce() -> None:
    """Of 95 accepted and 5 refused, with 10 bounced, 85 of 100 succeeded; no attempts, no ratio. No name, no row."""
    named = {"channel_id": 1, "name": "a", "channel_kind": "email", "verdict": "unknown", "uniques": 0}
    totals = {"accepted": 95, "failed": 5, "bounced": 10}
    rows = [{**named, "kind": kind, "total": total} for kind, total in totals.items()]
    (channel,) = figures.channels(rows, "human")
    assert (channel.accepted, channel.failed, channel.success) == (95, 15, 0.85)
    unknown = {**named, "channel_id": 2, "name": None, "kind": "accepted", "total": 9}
    (silent,) = figures.channels([{**named, "kind": "complained", "total": 1}, unknown], None)
    assert (silent.success, silent.complained) == (None, 1)


def test_heat_is_relative_to_the_hottest_link() -> None:
    """Links without a click of the chosen verdict are left out; an article that is gone still has its number."""
    row: dict[str, Any] = {
        "content_id": 4,
        "title": None,
        "url": None,
        "link": 0,
        "human": 10,
        "machine": None,
        "total": 10,
    }
    rows = [row | {"link": 1, "human": 40, "total": 44, "machine": 4, "title": "T", "url": "https://a.example/x"}, row]
    assert [(one.title, one.host, one.clicks, one.of_hottest) for one in figures.heat(rows, "human")] == [
        ("T", "a.example", 40, 1.0),
        ("Article 4", "", 10, 0.25),
    ]
    assert [one.clicks for one in figures.heat(rows, "machine")] == [4]
    assert figures.heat([], None) == []


def test_the_course_leaves_no_window_out() -> None:
    """Every window of the period is there, with zeros where nothing happened; what is outside is not."""
    view = read({"period": "day"}, NOW)
    human = {"window_start": view.starts_at, "kind": "opened", "verdict": "human", "total": 3}
    rows = [human, human | {"window_start": view.ends_at, "total": 9}, human | {"kind": "bounced", "total": 9}]
    course = figures.course(rows, view)
    assert len(course.starts_s) == 24
    assert (course.totals["opened"][0], sum(course.totals["opened"])) == (3, 3)
    assert course.rows == [(view.starts_at, [0, 3, 0])]
    assert figures.course([], view).is_empty


def test_the_course_is_of_the_verdict_that_counts() -> None:
    """A verdict narrows the line of opens and never that of receipts, and all of them add up."""
    for verdict, opened in (("human", 3), ("machine", 5), ("all", 8)):
        view = read({"period": "day", "verdict": verdict}, NOW)
        row = {"window_start": view.starts_at, "kind": "opened"}
        rows = [row | {"verdict": "human", "total": 3}, row | {"verdict": "machine", "total": 5}]
        rows.append(row | {"kind": "delivered", "verdict": "unknown", "total": 9})
        totals = figures.course(rows, view).totals
        assert (totals["opened"][0], totals["delivered"][0]) == (opened, 9)


def test_lag_is_what_the_log_has_more() -> None:
    """Ends less positions, never below zero; unknown while the brokers are away."""
    row = {"consumer": "c", "topic": "t", "updated_at": NOW}
    rows = [{**row, "partition": 0, "next_offset": 8}, {**row, "partition": 1, "next_offset": 20}]
    (lag,) = lags(rows, Ends(ends={("t", 0): 10, ("t", 1): 19}, buried={}))
    assert (lag.lag, lag.partitions) == (2, 2)
    assert lags(rows, None)[0].lag is None


@pytest.mark.parametrize(
    ("spelled", "expected"),
    [
        (pages.number(1_234_567), "1\u202f234\u202f567"),
        (pages.percent(None), "\u2013"),
        (pages.percent(0.0725), "7.2\u202f%"),
        (pages.percent(0.0), "0\u202f%"),
        (pages.percent(0.0001), "< 0.1\u202f%"),
        (pages.percent(0.9999), "> 99.9\u202f%"),
        (pages.percent(1.0), "100\u202f%"),
        (pages.width(0.0), "0.00%"),
        (pages.width(0.0001), "0.60%"),
        (pages.age(-3), "0 s"),
        (pages.age(59), "59 s"),
        (pages.age(3725), "1 h 2 min"),
        (pages.age(125), "2 min 5 s"),
        (pages.age(259_200), "3 days"),
        (pages.words("in_review"), "in review"),
    ],
)
def test_figures_are_spelled_in_one_way(spelled: str, expected: str) -> None:
    """Thousands have a narrow space, nearly all is not all, and next to nothing is not nothing."""
    assert spelled == expected


def test_a_cookie_stands_for_a_header_on_the_event_stream_only() -> None:
    """A browser's event stream may come with the session; no other path of the API, and never against a header."""
    cookie = {b"cookie": b"a=b; tidewire_session=abc.def; c=d"}
    assert session.credential(cookie, session.LIVE_PATH) == "Bearer abc.def"
    assert session.credential(cookie, f"{PREFIX}/subscribers") == ""
    assert session.credential(cookie | {b"authorization": b"Bearer x"}, session.LIVE_PATH) == "Bearer x"
    assert session.credential({}, session.LIVE_PATH) == ""


def test_a_session_cookie_is_for_this_site_alone() -> None:
    """No script reads it, no other site sends it, it ends with its token, and with https it never goes in clear."""
    kept = session.cookie_of("t", max_age_s=60, is_secure=True)
    assert kept == "tidewire_session=t; Max-Age=60; Path=/; HttpOnly; SameSite=Strict; Secure"
    assert "Secure" not in session.cookie_of("t", max_age_s=60, is_secure=False)
    assert "Max-Age=0;" in session.cookie_of("", max_age_s=-5, is_secure=True)
    assert session.is_from_elsewhere("cross-site")
    assert not session.is_from_elsewhere("same-origin")


@pytest.mark.parametrize("pasted", ["a.b.c", " a.b.c\n", "Bearer a.b.c", '"a.b.c"', "a.b\r\n.c"])
def test_a_token_is_read_as_people_paste_it(pasted: str) -> None:
    """The word Bearer, quotes and line ends around or in it are no part of it."""
    assert session.token_of(f"token={quote_plus(pasted)}".encode()) == "a.b.c"


def test_files_of_the_dashboard_are_small_and_of_known_types() -> None:
    """Each is below 200 kB, a vendored folder has its licence and its line of origin, and a digest names the bytes."""
    notes = (assets.FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    for name, asset in assets.ASSETS.items():
        assert len(asset.body) < 200_000, name
        assert asset.url == f"{assets.PREFIX}/{asset.digest}/{name}"
    folders = [path for path in (assets.FOLDER / "vendor").iterdir() if path.is_dir()]
    assert len(folders) == 2
    for folder in folders:
        package, _, version = folder.name.rpartition("-")
        assert f"| `{package}` | {version} |" in notes
        assert (folder / "LICENSE").is_file()
