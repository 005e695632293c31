"""How sending went, and what is recommended: every number is computed again from the raw rows of the ledger."""

import collections
import datetime as dt
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import asyncpg
import pytest

from publishing.domain.rates import wilson

pytestmark = pytest.mark.integration

ENDS_AT = dt.datetime(2026, 6, 1, tzinfo=dt.UTC)
PATH = "/analytics/performance?start_date=2026-04-01&end_date=2026-05-31"
MONDAYS = [dt.datetime(2026, 4, 6, tzinfo=dt.UTC) + dt.timedelta(weeks=week) for week in range(8)]
# Who opens what was sent at 9:00 of each Monday; at 15:00 the first 200 always do.
OPENED_AT_NINE = (500, 470, 440, 410, 380, 350, 300, 250)

MANAGED = """
INSERT INTO publishing_channels (id, kind, name, config_sealed, destination, shard) OVERRIDING SYSTEM VALUE
    VALUES (1, 'email', 'good', '', NULL, NULL), (2, 'email', 'bad', '', NULL, NULL), (3, 'slack', 'room', '', 9000, 0);
INSERT INTO publishing_publications (id, name, status, definition, created_by) OVERRIDING SYSTEM VALUE
    SELECT n, 'p' || n, 'running', '{"trigger": {"kind": "now"}}', 'tests' FROM generate_series(1, 3) AS n;
INSERT INTO publishing_subscribers (id, shard) SELECT n, n % 4 FROM generate_series(2001, 2010) AS n;
INSERT INTO publishing_suppressions (destination, scope, reason, source)
    VALUES (2001, 'all', 'bounced', 'tests'),
        (2002, 'email', 'bounced', 'tests'), (2003, 'channel:2', 'bounced', 'tests');
INSERT INTO publishing_subscriber_state (destination, shard, events)
    SELECT n, n % 4, 3 FROM generate_series(751, 1000) AS n;
INSERT INTO publishing_content_batches (batch_id, source_partition, items)
    VALUES (5, 0, '[{"submitted_at": 1778000000000}, {"submitted_at": 1778000000500}]');
"""
RUN = """
INSERT INTO publishing_runs (id, run_day, publication_id, publication_version, due_at, content_batch_id, shards,
        created_at)
    OVERRIDING SYSTEM VALUE VALUES ($1, $2::timestamptz::date, $3, 1, $4, $5, 4, $2)
"""
SENT = """
INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk, lane, state,
        reason, content_ids, scores, accepted_at)
    SELECT r.run_day, r.id, $2, n, r.publication_id, 0, 0, 'bulk', $5, $6, '{}', '{}',
        CASE WHEN $5 NOT IN ('failed', 'suppressed') THEN r.created_at + (n % 977) * interval '7 milliseconds' END
    FROM publishing_runs r, generate_series($3::bigint, $4::bigint) AS n WHERE r.id = $1
"""
TOUCHED = """
INSERT INTO publishing_engaged
    SELECT d.run_id, d.channel_id, d.destination, $3, $3 <> 'complained',
        d.accepted_at + (d.destination % 89) * interval '1 minute'
    FROM publishing_deliveries d WHERE d.run_id = $1 AND d.destination <= $2
"""
# What engagement counts of these deliveries and touches.
COUNTED = """
INSERT INTO publishing_analytics
    SELECT g, date_trunc(g, at, 'UTC'), publication_id, run_id, channel_id, 0, kind, verdict, count(*), sum(uniques),
        0, 0, min(at), max(at)
    FROM (
        SELECT accepted_at AS at, publication_id, run_id, channel_id, 'accepted' AS kind, 'unknown' AS verdict,
            0 AS uniques
        FROM publishing_deliveries WHERE accepted_at IS NOT NULL
        UNION ALL
        SELECT accepted_at, publication_id, run_id, channel_id, 'bounced', 'unknown', 0
        FROM publishing_deliveries WHERE state = 'bounced'
        UNION ALL
        SELECT e.first_at, r.publication_id, e.run_id, e.channel_id, e.kind,
            CASE WHEN e.human THEN 'human' ELSE 'unknown' END, 1
        FROM publishing_engaged e JOIN publishing_runs r ON r.id = e.run_id
    ) happened CROSS JOIN unnest(ARRAY['minute', 'hour', 'day']) AS g
    GROUP BY g, date_trunc(g, at, 'UTC'), publication_id, run_id, channel_id, kind, verdict
"""


@pytest.fixture
async def world(pool: asyncpg.Pool) -> list[asyncpg.Record]:
    """Eight weeks of a newsletter that tires, one bad list, one room; the deliveries with who opened them."""
    await pool.execute(MANAGED)
    for week, monday in enumerate(MONDAYS):
        for hour, opened in ((9, OPENED_AT_NINE[week]), (15, 200)):
            run_id, at = 100 * hour + week, monday.replace(hour=hour)
            await pool.execute(RUN, run_id, at, 1, at, None)
            await pool.execute(SENT, run_id, 1, 1, 1_000, "accepted", None)
            await pool.execute(TOUCHED, run_id, opened, "opened")
    at = dt.datetime(2026, 5, 20, 12, tzinfo=dt.UTC)
    await pool.execute(RUN, 1, at, 2, at, None)
    for first, last, state, reason in (
        (2001, 2100, "bounced", "no mailbox"),
        (2101, 2140, "failed", "refused"),
        (2141, 3200, "accepted", None),
        (3201, 3210, "suppressed", "unsubscribed"),
    ):
        await pool.execute(SENT, 1, 2, first, last, state, reason)
    await pool.execute(TOUCHED, 1, 2_005, "complained")
    await pool.execute(RUN, 2, dt.datetime(2026, 5, 5, 17, tzinfo=dt.UTC), 3, None, 5)
    await pool.execute(SENT, 2, 3, 9000, 9000, "accepted", None)
    await pool.execute(COUNTED)
    return await pool.fetch(
        "SELECT d.*, r.due_at, r.created_at, e.first_at AS opened_at FROM publishing_deliveries d "
        "JOIN publishing_runs r ON r.id = d.run_id LEFT JOIN publishing_engaged e ON e.run_id = d.run_id "
        "AND e.channel_id = d.channel_id AND e.destination = d.destination AND e.kind = 'opened' AND e.human"
    )


def percentiles(values: Iterable[float]) -> dict[str, Any]:
    """Discrete percentiles: the first value that at least so many stay within."""
    ordered = sorted(values)
    at = {f"p{share}": ordered[math.ceil(share / 100 * len(ordered)) - 1] for share in (50, 95, 99)}
    return {"measured": len(ordered), **at}


def share(count: int, of: int, z: float = 1.959963984540054) -> dict[str, Any]:
    """A rate as evidence shows it."""
    low, high = wilson(count, of, z)
    return {"count": count, "of": of, "ratio": count / of, "low": low, "high": high}


def rounded(found: Iterable[Any]) -> Any:
    """The same with floats of nine digits: sums of floats depend on their order."""
    return json.loads(json.dumps(list(found)), parse_float=lambda text: round(float(text), 9))


async def test_performance(bare_api: Any, world: list[asyncpg.Record]) -> None:
    """Success, states, failures, latencies and pace are those of the ledger's rows."""
    found = (await bare_api.get(PATH)).json()
    states = collections.Counter(row["state"] for row in world)
    assert found["by_state"] == dict(states)
    settled = len(world) - states["suppressed"]
    assert found["success"] == share(states["accepted"], settled)
    assert found["success_rate"] == states["accepted"] / settled
    assert found["failures"] == [
        {"channel_id": 2, "state": "bounced", "reason": "no mailbox", "deliveries": 100},
        {"channel_id": 2, "state": "failed", "reason": "refused", "deliveries": 40},
    ]
    newest = dt.datetime.fromtimestamp(1_778_000_000.5, dt.UTC)
    taken = [row for row in world if row["accepted_at"]]
    latency = [max(0.0, (row["accepted_at"] - (row["due_at"] or newest)).total_seconds() * 1000) for row in taken]
    opened = [(row["opened_at"] - row["accepted_at"]).total_seconds() * 1000 for row in taken if row["opened_at"]]
    assert found["latency_ms"] == pytest.approx(percentiles(latency))
    assert found["first_open_ms"] == pytest.approx(percentiles(opened))
    assert found["sample_of"] == 1
    (room,) = [one for one in found["channels"] if one["channel_id"] == 3]
    to_room = [(row["accepted_at"] - newest).total_seconds() * 1000 for row in taken if row["channel_id"] == 3]
    assert room["latency_ms"] == pytest.approx(percentiles(to_room))
    hours = collections.Counter(row["accepted_at"].replace(minute=0, second=0, microsecond=0) for row in taken)
    pace = found["throughput"]["per_hour"]
    assert (pace["windows"], pace["mean"], pace["busiest"]) == (
        len(hours),
        len(taken) / len(hours),
        max(hours.values()),
    )


async def test_recommendations_rest_on_rows(bare_api: Any, world: list[asyncpg.Record], pool: asyncpg.Pool) -> None:
    """Every recommendation's evidence is computed again from deliveries, touches, subscribers and suppressions."""
    found = (await bare_api.get(PATH)).json()["recommendations"]
    period = {"starts_at": (ENDS_AT - dt.timedelta(days=90)).isoformat(), "ends_at": ENDS_AT.isoformat()}
    complained = await pool.fetchval("SELECT count(*) FROM publishing_engaged WHERE kind = 'complained'")
    bounced_active = await pool.fetchval(
        "SELECT count(*) FROM publishing_subscribers s WHERE id BETWEEN 2001 AND 2100 AND NOT EXISTS "
        "(SELECT FROM publishing_suppressions x WHERE x.destination = s.id)"
    )
    learned = {row["destination"] for row in await pool.fetch("SELECT destination FROM publishing_subscriber_state")}
    expected = [*_times(world), *_tired(world), *_channels(world, complained), *_silent(world, learned)]
    expected.append({"channel_id": 2, "sample_of": 1, "sign": "bounced_active", "readers": bounced_active})
    assert rounded(one["evidence"] for one in found) == rounded(period | one for one in expected)
    assert [one["kind"] for one in found] == [
        "best_hour", "tired_audience", "tired_audience", *3 * ["channel_underdelivers"], *3 * ["list_hygiene"],
    ]  # fmt: skip
    assert all(one["action"] for one in found)
    thin = (await bare_api.get("/analytics/performance?start_date=2026-04-01&end_date=2026-04-13")).json()
    assert thin["recommendations"] == []


def _opens(rows: Iterable[Any], z: float = 1.959963984540054) -> dict[str, Any]:
    some = [row for row in rows if row["accepted_at"]]
    return share(sum(row["opened_at"] is not None for row in some), len(some), z)


def _times(world: list[Any]) -> Iterator[dict[str, Any]]:
    mine = [row for row in world if row["channel_id"] == 1]
    nine = [row for row in mine if row["due_at"].hour == 9]
    # Two hours are compared: 1 - 0.05 / 2 / 2.
    z = 2.241402727604945
    overall = {"overall_runs": 16, "overall": _opens(mine, z)}
    yield {"channel_id": 1, "hour": 9, "runs": 8, "open": _opens(nine, z), **overall, "compared": 2, "z": z}


def _tired(world: list[Any]) -> Iterator[dict[str, Any]]:
    mine = [row for row in world if row["channel_id"] == 1]
    weeks = [
        {"week": monday.date().isoformat(), "open": _opens(row for row in mine if row["run_day"] == monday.date())}
        for monday in MONDAYS[-4:]
    ]
    yield {"sign": "open_rate_falls", "publication_id": 1, "channel_id": 1, "weeks": weeks}
    since = ENDS_AT - dt.timedelta(days=28)
    late = [row["destination"] for row in mine if row["created_at"] >= since]
    early = [row["destination"] for row in mine if row["created_at"] < since]
    yield {
        "sign": "messages_rise",
        "channel_id": 1,
        "sample_of": 1,
        "recent_since": since.isoformat(),
        "messages": len(late),
        "readers": len(set(late)),
        "messages_before": len(early),
        "readers_before": len(set(early)),
        "per_reader_and_week": len(late) / len(set(late)) / 28 * 7,
        "per_reader_and_week_before": len(early) / len(set(early)) / 62 * 7,
    }


def _channels(world: list[Any], complained: int) -> Iterator[dict[str, Any]]:
    states = collections.Counter(row["state"] for row in world if row["channel_id"] == 2)
    others = [row for row in world if row["channel_id"] != 2]
    success = share(states["accepted"], states["accepted"] + states["failed"] + states["bounced"])
    asked = {"starts_at": "2026-04-01T00:00:00+00:00", "sign": "success", "channel_id": 2}
    yield asked | {"success": success, "others": share(len(others), len(others))}
    accepted = states["accepted"] + states["bounced"]
    yield {"sign": "bounce", "channel_id": 2, "bounce": share(states["bounced"], accepted), "limit": 0.05}
    yield {"sign": "complaint", "channel_id": 2, "complaint": share(complained, accepted), "limit": 0.001}


def _silent(world: list[Any], learned: set[int]) -> Iterator[dict[str, Any]]:
    got = collections.Counter(row["destination"] for row in world if row["channel_id"] == 1)
    engaged = {row["destination"] for row in world if row["channel_id"] == 1 and row["opened_at"]}
    regular = {one for one, count in got.items() if count >= 5}
    silent = regular - engaged
    for sign, readers in (("never_engaged", silent - learned), ("lapsed", silent & learned)):
        yield {
            "channel_id": 1,
            "sample_of": 1,
            "sign": sign,
            "at_least_messages": 5,
            "engaged": len(engaged),
            "silent": share(len(readers), len(regular)),
        }


async def test_nothing_was_sent(bare_api: Any) -> None:
    """Without runs there are no rates, no latencies and nothing to recommend."""
    found = (await bare_api.get("/analytics/performance")).json()
    assert (found["success_rate"], found["by_state"], found["failures"], found["recommendations"]) == (None, {}, [], [])
    assert found["latency_ms"] == {"measured": 0, "p50": None, "p95": None, "p99": None}
    assert found["throughput"]["per_minute"] == {"windows": 0, "mean": None, "busiest": 0, "busiest_at": None}


async def test_filters(bare_api: Any, world: list[asyncpg.Record]) -> None:
    """A channel or publication that is asked for is all that is counted."""
    found = (await bare_api.get(f"{PATH}&channels=2")).json()
    assert sum(found["by_state"].values()) == sum(row["channel_id"] == 2 for row in world)
    assert {one["evidence"]["channel_id"] for one in found["recommendations"]} == {2}
    found = (await bare_api.get(f"{PATH}&publications=3")).json()
    assert [one["channel_id"] for one in found["channels"]] == [3]


@pytest.mark.parametrize(
    ("query", "field"),
    [("channels=x", "channels"), ("publications=-1", "publications"), ("start_date=x", "start_date")],
)
async def test_what_is_refused(bare_api: Any, query: str, field: str) -> None:
    """A wrong parameter is named."""
    refused = await bare_api.get(f"/analytics/performance?{query}")
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)
