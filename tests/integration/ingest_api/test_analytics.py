"""The analysts' routes over the real database: series, rates, trends, freshness, exports, and what is refused."""

import asyncio
import csv
import datetime as dt
import io
import tracemalloc
from random import Random
from typing import Any

import asyncpg
import pyarrow.parquet
import pytest

from ingest_api.exports import as_csv, as_parquet
from publishing.domain.rates import wilson
from publishing.domain.windows import Grain
from publishing.stores import analytics

pytestmark = pytest.mark.integration

AT = dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
PATH = "/analytics/engagement?start_date=2026-01-05&end_date=2026-01-05"
CELLS = [
    ("hour", AT, 12, 77, 1, 0, "accepted", "unknown", 10, 0, 0, 0),
    ("hour", AT, 12, 77, 1, 0, "opened", "human", 5, 3, 1, 2),
    ("hour", AT, 12, 77, 1, 1, "opened", "machine", 4, 2, 0, 0),
    ("hour", AT, 12, 78, 1, 0, "clicked", "human", 2, 2, 0, 0),
    ("hour", AT, 13, 79, 2, 0, "opened", "human", 7, 7, 0, 0),
    ("hour", AT + 3 * DAY / 24, 12, 77, 1, 0, "bounced", "unknown", 1, 0, 0, 0),
    ("hour", AT - DAY, 12, 76, 1, 0, "opened", "human", 6, 6, 0, 0),
    ("hour", AT - DAY, 12, 76, 1, 0, "accepted", "unknown", 12, 0, 0, 0),
]
# Days are the sums of their hours, as engagement makes them.
DAYS = """
INSERT INTO publishing_analytics
    SELECT 'day', date_trunc('day', window_start, 'UTC'), publication_id, run_id, channel_id, arm, kind, verdict,
        sum(total), sum(uniques), 0, 0, min(first_at), max(last_at)
    FROM publishing_analytics WHERE grain = 'hour' GROUP BY 2, 3, 4, 5, 6, 7, 8
"""


async def insert_cells(pool: asyncpg.Pool, cells: list[tuple[Any, ...]]) -> None:
    """Store cells whose first and last times are their window's."""
    await pool.executemany(
        "INSERT INTO publishing_analytics VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $2, $2)", cells
    )


async def set_watermark(pool: asyncpg.Pool, at: dt.datetime, shards: int) -> None:
    """Let every partition have passed the time."""
    await pool.execute(
        "INSERT INTO publishing_watermarks SELECT 'engagement', n, $1 FROM generate_series(0, $2::int - 1) AS n",
        at,
        shards,
    )


@pytest.fixture
async def counted(bare_api: Any, pool: asyncpg.Pool) -> Any:
    """An API over the cells of one day and the day before, closed until 10:00."""
    await insert_cells(pool, CELLS)
    await pool.execute(DAYS)
    await set_watermark(pool, AT + dt.timedelta(hours=2), bare_api.settings.audience_shards)
    return bare_api


async def test_nothing_yet(bare_api: Any) -> None:
    """Before the first event there are no windows, no watermark, and rates of nothing."""
    found = (await bare_api.get("/analytics/engagement")).json()
    assert (found["watermark"], found["series"], found["trends"], found["groups"]) == (None, [], {}, [])
    assert found["freshness"] == {"watermark": None, "age_s": None}
    nothing = {"count": 0, "of": 0, "ratio": None, "low": None, "high": None, "before": None}
    assert found["rates"] == dict.fromkeys(
        ("open", "click", "click_to_open", "unsubscribe", "bounce", "complaint"), nothing
    )


async def test_series(counted: Any) -> None:
    """Windows are summed over what is not asked for, filtered by what is, and say late, revision and closed."""
    found = (await counted.get(f"{PATH}&channels=1&publications=12&metrics=opened&grain=hour")).json()
    cell = {"window_start": "2026-01-05T08:00:00Z", "channel_id": 1, "kind": "opened"}
    assert found["series"] == [cell | {"total": 9, "uniques": 5, "late": 1, "revision": 2, "closed": True}]
    assert found["truncated"] is False
    everything = (await counted.get(PATH)).json()["series"]
    assert [(one["channel_id"], one["kind"], one["total"], one["closed"]) for one in everything] == [
        (1, "accepted", 10, True),
        (1, "clicked", 2, True),
        (1, "opened", 9, True),
        (2, "opened", 7, True),
        (1, "bounced", 1, False),
    ]
    timed = "/analytics/engagement?start_date=2026-01-05T09:00:00+01:00&end_date=2026-01-05T10:00:00Z"
    assert len((await counted.get(timed)).json()["series"]) == 4


async def test_splits(counted: Any) -> None:
    """A split tells publications, runs, arms and verdicts apart, in cells and in groups of rates."""
    split = (await counted.get(f"{PATH}&channels=1&metrics=opened&split=arm,verdict")).json()
    assert [(one["arm"], one["verdict"], one["total"]) for one in split["series"]] == [
        (0, "human", 5),
        (1, "machine", 4),
    ]
    assert [one["arm"] for one in split["groups"]] == [0, 1]
    grouped = (await counted.get(f"{PATH}&split=publication,run")).json()
    assert {(one["publication_id"], one["run_id"]) for one in grouped["series"]} == {(12, 77), (12, 78), (13, 79)}
    (first, *_) = grouped["groups"]
    assert (first["publication_id"], first["run_id"], first["rates"]["open"]["count"]) == (12, 77, 3)


async def test_freshness_trends_and_rates(counted: Any) -> None:
    """A period is compared with the one before; rates are of human first touches, with Wilson's interval."""
    found = (await counted.get(f"{PATH}&channels=1")).json()
    assert found["watermark"] == found["freshness"]["watermark"] == "2026-01-05T10:00:00Z"
    assert found["freshness"]["age_s"] > 0
    assert found["trends"]["opened"] == {"total": 9, "before": 6, "change_ratio": 0.5}
    low, high = wilson(3, 10)
    assert found["rates"]["open"] == {"count": 3, "of": 10, "ratio": 0.3, "low": low, "high": high, "before": 0.5}
    assert found["rates"]["bounce"]["ratio"] == 0.1
    assert (await counted.get(f"{PATH}&channels=1&metrics=clicked")).json()["rates"] == found["rates"]


@pytest.mark.parametrize(
    ("now", "hours"),
    [(dt.timedelta(hours=2, minutes=30), 3), (dt.timedelta(hours=12), 12), (4 * DAY, 12), (-DAY, 12)],
)
def test_what_is_not_over_is_compared_with_as_much(now: dt.timedelta, hours: int) -> None:
    """Of a period that is not over, the hours that have begun are compared with as many before it."""
    query = analytics.EngagementQuery(grain=Grain.HOUR, starts_at=AT, ends_at=AT + dt.timedelta(hours=12))
    before = query.before(AT + now)
    assert (before.starts_at, before.ends_at) == (AT - dt.timedelta(hours=hours), AT)


async def test_watermark_needs_every_partition(bare_api: Any, pool: asyncpg.Pool) -> None:
    """While a partition has said nothing, no window is called closed."""
    await insert_cells(pool, CELLS)
    await set_watermark(pool, AT + DAY, bare_api.settings.audience_shards - 1)
    found = (await bare_api.get(PATH)).json()
    assert found["watermark"] is None
    assert not any(one["closed"] for one in found["series"])


async def test_csv(counted: Any) -> None:
    """A CSV holds what the series holds, whether the parameter or the Accept header asks for it."""
    asked = await counted.get(f"{PATH}&split=publication,verdict&format=csv")
    assert asked.headers["content-type"].startswith("text/csv")
    assert asked.headers["x-watermark"] == "2026-01-05T10:00:00+00:00"
    rows = list(csv.DictReader(io.StringIO(asked.text)))
    series = (await counted.get(f"{PATH}&split=publication,verdict")).json()["series"]
    spelled = [
        {name: str(value).lower() if name == "closed" else str(value) for name, value in one.items()} for one in series
    ]
    assert rows == spelled
    assert (await counted.get(f"{PATH}&split=publication,verdict", accept="text/csv")).text == asked.text
    assert (
        asked.text.splitlines()[0]
        == "window_start,publication_id,channel_id,kind,verdict,total,uniques,late,revision,closed"
    )


async def test_parquet(counted: Any) -> None:
    """A Parquet file holds what the series holds."""
    path = f"{PATH}&split=publication,run,arm,verdict"
    asked = await counted.get(f"{path}&format=parquet")
    assert asked.headers["content-type"] == "application/vnd.apache.parquet"
    table = pyarrow.parquet.read_table(io.BytesIO(asked.content))
    series = (await counted.get(path)).json()["series"]
    for row in series:
        row["window_start"] = dt.datetime.fromisoformat(row["window_start"])
    assert table.to_pylist() == series
    nothing = await counted.get("/analytics/engagement?start_date=2020-01-01&end_date=2020-01-02&format=parquet")
    assert pyarrow.parquet.read_table(io.BytesIO(nothing.content)).num_rows == 0


@pytest.mark.parametrize("chunk_rows", [1, 2, 1_000])
async def test_chunks_are_the_whole(counted: Any, pool: asyncpg.Pool, chunk_rows: int) -> None:
    """However an export is cut into chunks, it holds each cell once, in order."""
    query = analytics.EngagementQuery(
        grain=Grain.HOUR, starts_at=AT - 9 * DAY, ends_at=AT + DAY, splits=frozenset(analytics.SPLITS)
    )
    whole = await analytics.series(pool, query, None)
    async with asyncio.timeout(20):
        chunks = [rows async for rows in analytics.exported(pool, query, None, chunk_rows=chunk_rows)]
    assert [row for rows in chunks for row in rows] == [tuple(row.values()) for row in whole]
    assert max(map(len, chunks)) <= chunk_rows


@pytest.mark.parametrize("grain", ["minute", "hour", "day"])
async def test_totals_are_plain_sums(pool: asyncpg.Pool, grain: str) -> None:
    """However ragged a period is, its totals are the sums of its windows of the grain that was asked for."""
    await pool.execute(
        "INSERT INTO publishing_analytics SELECT g, date_trunc(g, at, 'UTC'), n % 3, n % 5, n % 2, 0, 'opened', "
        "(ARRAY['human', 'machine'])[1 + n % 2], sum(n), count(*), 0, 0, min(at), max(at) "
        "FROM generate_series(1, 4000) AS n, LATERAL (SELECT $1::timestamptz + n * interval '97 seconds' AS at) AS t, "
        "unnest(ARRAY['minute', 'hour', 'day']) AS g GROUP BY 1, 2, 3, 4, 5, 8",
        AT,
    )
    random = Random(1)
    for _ in range(40):
        starts_at = AT + dt.timedelta(minutes=random.randrange(-600, 7_000))
        ends_at = starts_at + dt.timedelta(minutes=random.choice([1, 59, 1_440, random.randrange(7_000)]))
        query = analytics.EngagementQuery(
            grain=Grain(grain), starts_at=starts_at, ends_at=ends_at, channels=(1,), splits=frozenset({"publication"})
        )
        plain = await pool.fetch(
            "SELECT publication_id, channel_id, kind, verdict, sum(total)::bigint AS total, sum(uniques)::bigint AS "
            "uniques FROM publishing_analytics WHERE grain = $1 AND window_start >= $2 AND window_start < $3 "
            "AND channel_id = 1 GROUP BY 1, 2, 3, 4",
            grain,
            starts_at,
            ends_at,
        )
        found = await analytics.totals(pool, query)
        assert sorted(found, key=str) == sorted(map(dict, plain), key=str)


async def test_a_text_is_no_formula(counted: Any, pool: asyncpg.Pool) -> None:
    """A cell that a spreadsheet would take for a formula is quoted."""
    await insert_cells(pool, [("hour", AT, 12, 77, 1, 0, "=1+1", "@x", 1, 1, 0, 0)])
    text = (await counted.get(f"{PATH}&split=verdict&format=csv")).text
    assert ",'=1+1,'@x," in text


async def test_one_answer_is_bounded(bare_api: Any, pool: asyncpg.Pool) -> None:
    """JSON stops at its limit and says so; an export holds all the rest too."""
    many = analytics.MAX_CELLS + 1
    await pool.execute(
        "INSERT INTO publishing_analytics SELECT 'day', $1, 1, n, 1, 0, 'opened', 'human', 1, 1, 0, 0, $1, $1 "
        "FROM generate_series(1, $2::int) AS n",
        AT.replace(hour=0),
        many,
    )
    found = (await bare_api.get(f"{PATH}&grain=day&split=run")).json()
    assert (len(found["series"]), found["truncated"], len(found["groups"])) == (analytics.MAX_CELLS, True, 1_000)
    exported = await bare_api.get(f"{PATH}&grain=day&split=run&format=csv")
    assert len(exported.text.splitlines()) == 1 + many


@pytest.mark.parametrize("written", [as_csv, as_parquet])
async def test_an_export_takes_little_memory(pool: asyncpg.Pool, written: Any) -> None:
    """However many cells there are, a few chunks of them are in memory: 60,000 cells would take 30 MB at once."""
    rows = 60_000
    await pool.execute(
        "INSERT INTO publishing_analytics SELECT 'day', $1, 1, n, 1, 0, 'opened', 'human', n, 1, 0, 0, $1, $1 "
        "FROM generate_series(1, $2::int) AS n",
        AT.replace(hour=0),
        rows,
    )
    query = analytics.EngagementQuery(
        grain=Grain.DAY, starts_at=AT - DAY, ends_at=AT + DAY, splits=frozenset(analytics.SPLITS)
    )
    arrow = pyarrow.default_memory_pool()
    tracemalloc.start()
    try:
        size = 0
        async for part in written(query.columns, analytics.exported(pool, query, None)):
            size += len(part)
        (_, peak) = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size > rows
    assert peak < 12_000_000
    assert arrow.max_memory() < 12_000_000


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("channels=x", "channels"),
        (f"channels={2**31}", "channels"),
        ("publications=1,,2", "publications"),
        ("metrics=canary", "metrics"),
        ("split=channel", "split"),
        ("grain=week", "grain"),
        ("format=xlsx", "format"),
        ("start_date=yesterday", "start_date"),
        ("end_date=0001-01-01", "end_date"),
        ("start_date=1969-12-31", "start_date"),
        ("end_date=9999-12-31", "end_date"),
        ("start_date=2026-01-05&end_date=2026-01-01", "end_date"),
    ],
)
async def test_what_is_refused(bare_api: Any, query: str, field: str) -> None:
    """A wrong parameter is named, in JSON and in exports alike."""
    for path in (f"/analytics/engagement?{query}", f"/analytics/engagement?format=csv&{query}"):
        refused = await bare_api.get(path, role="reader")
        assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, field)


async def test_who_may_read(bare_api: Any) -> None:
    """A reader may read analytics; nobody may without a token."""
    for path in ("/analytics/engagement", "/analytics/performance"):
        assert (await bare_api.get(path, role="reader")).status_code == 200
        assert (await bare_api.client.get(f"/api/v1/publishing{path}")).status_code == 401
