"""The dashboard's query, 30 days x 100 publications under ingest, beside SQL over raw events (latency, same answer)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import datetime as dt
import json
import secrets
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ingest_api.analysis import engagement_view
from ingest_api.views import EngagementView
from migrations.apply import upgrade
from publishing.domain.windows import MINUTE_MS, Frame, Grain, Rows, fold
from publishing.local.services import start_here, stop
from publishing.runtime.database import Pool, create_database, drop_database, open_pool
from publishing.runtime.settings import Settings, load_settings
from publishing.runtime.statements import load_statements
from publishing.stores import dashboard
from publishing.stores.analytics import EngagementQuery
from publishing.stores.engagement import Advance, apply_engagement
from publishing.stores.offsets import Place
from schemas.frames import KIND_INDEX, VERDICT_INDEX, new_events
from schemas.messages import EngagementKind, Verdict
from topics.catalog import ENGAGEMENT_RECORDED

SQL = load_statements(__file__)
AT_LEAST, AIM = 20.0, 50.0
P95_MS, P95_AIM_MS = 50.0, 20.0
FIRST_DAY = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
# The writer's statements: 500 events each, 10 a second: the 5,000 a second that a collector must stand.
WRITTEN_EVENTS, WRITES_A_SECOND = 500, 10
LONGEST_S = 600
# For making the rows and for the peer, who would spill to disk otherwise; ours are asked with the server's settings.
GENEROUS = f"SET statement_timeout = '{LONGEST_S}s'; SET work_mem = '256MB'; SET maintenance_work_mem = '256MB'"


def main() -> int:
    """Runs the bench and prints the figures; exit code 1 below the ratio or above the percentile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=30, help="days of the period; as many before it are made up")
    parser.add_argument("--publications", type=int, default=100)
    parser.add_argument("--readers", type=int, default=470, help="readers of a run, one run a day")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--queries", type=int, default=40, help="of ours a pair")
    parser.add_argument("--grain", default="day", choices=["hour", "day"])
    parser.add_argument("--write", metavar="URL", help=argparse.SUPPRESS)
    options = parser.parse_args()
    return asyncio.run(write(options) if options.write else compare(options))


async def compare(options: argparse.Namespace) -> int:
    """Makes the rows, compares the answers, then times both while a writer counts events."""
    async with database() as settings, await open_pool(settings, process="bench", max_size=4) as pool:
        rows = await make_up(pool, options)
        bench = Bench(pool, options)
        view = await bench.checked()
        writer = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "perf.query", "--write", settings.database, "--days", str(options.days),
            "--publications", str(options.publications), stdout=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert writer.stdout is not None
        await writer.stdout.readline()
        times = await bench.timed()
        writer.terminate()
        await writer.wait()
        counted = await pool.fetchval("SELECT sum(total) FROM publishing_analytics WHERE grain = 'day' AND run_id = 0")
    return report(options, rows, times, (len(view.series), counted))


class Bench:
    """Our query and the peer's, over the same period."""

    def __init__(self, pool: Pool, options: argparse.Namespace) -> None:
        self._pool = pool
        self._options = options
        starts_at = FIRST_DAY + dt.timedelta(days=options.days)
        self._query = EngagementQuery(
            grain=Grain(options.grain),
            starts_at=starts_at,
            ends_at=starts_at + dt.timedelta(days=options.days),
            publications=tuple(range(1, options.publications + 1)),
            splits=frozenset({"verdict"}),
        )

    async def ours(self) -> EngagementView:
        """What the API answers: watermark, series, trends and rates."""
        return await engagement_view(self._pool, self._query, self._query.ends_at)

    async def theirs(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """The series and the totals of the period before, from raw events."""
        query = self._query
        earlier = query.starts_at - (query.ends_at - query.starts_at)
        async with self._pool.acquire() as connection:
            await connection.execute(GENEROUS)
            rows = await connection.fetch(
                SQL.raw_series, query.grain, query.starts_at, query.ends_at, timeout=LONGEST_S
            )
            before = await connection.fetch(SQL.raw_totals, earlier, query.starts_at, timeout=LONGEST_S)
        return [dict(row) for row in rows], {row["kind"]: row["total"] for row in before}

    async def page(self) -> dashboard.Cells:
        """What the dashboard's page reads for funnel, chart and channels, by day as its 30 days are."""
        span = dashboard.Span(grain=Grain.DAY, starts_at=self._query.starts_at, ends_at=self._query.ends_at)
        return await dashboard.cells(self._pool, span)

    async def checked(self) -> EngagementView:
        """Our answer; ends the bench unless it is the peer's."""
        view = await self.ours()
        rows, before = await self.theirs()
        shown = msgspec.to_builtins(view.series, builtin_types=(dt.datetime,))
        mine = [{name: cell[name] for name in rows[0]} for cell in shown]
        if mine != rows or {kind: trend.before for kind, trend in view.trends.items()} != before:
            sys.exit("the answers differ")
        return view

    async def timed(self) -> Times:
        """Milliseconds of our queries, encoded as the API does, and of the peer's, by pairs; and of the page's."""
        mine, theirs, pages = [], [], []

        async def answered() -> bytes:
            return msgspec.json.encode(await self.ours())

        for _ in range(self._options.pairs):
            mine.append([await milliseconds(answered) for _ in range(self._options.queries)])
            pages += [await milliseconds(self.page) for _ in range(self._options.queries)]
            theirs.append(await milliseconds(self.theirs))
        return mine, theirs, sorted(pages)


async def milliseconds(query: Callable[[], Awaitable[Any]]) -> float:
    """How long one query takes."""
    start_s = time.perf_counter()
    await query()
    return (time.perf_counter() - start_s) * 1000


async def make_up(pool: Pool, options: argparse.Namespace) -> dict[str, int]:
    """Makes the raw events and the windows, partitions and statistics included."""
    days = 2 * options.days
    async with pool.acquire() as connection:
        await connection.execute(GENEROUS)
        last = FIRST_DAY + dt.timedelta(days=days + 2)
        await connection.execute("SELECT publishing_ensure_days($1, $2)", FIRST_DAY.date(), last.date())
        await connection.execute(SQL.events, timeout=LONGEST_S)
        await connection.execute(SQL.made_up, FIRST_DAY, days, options.publications, options.readers, timeout=LONGEST_S)
        for statement in (
            SQL.index_events,
            SQL.fold,
            SQL.fold_days,
            "VACUUM ANALYZE bench_events",
            "VACUUM ANALYZE publishing_analytics",
        ):
            await connection.execute(statement, timeout=LONGEST_S)
        (row,) = await connection.fetch(SQL.rows, timeout=LONGEST_S)
        return dict(row)


async def write(options: argparse.Namespace) -> int:
    """Counts events of the last day as the engagement app does, until it is ended."""
    settings = load_settings().model_copy(update={"database_url": options.write})
    random = np.random.default_rng(1)
    place = Place(ENGAGEMENT_RECORDED.name, 0)
    end_ms = int((FIRST_DAY + dt.timedelta(days=2 * options.days)).timestamp() * 1000)
    async with await open_pool(settings, process="bench-writer", max_size=1) as pool:
        for turn in range(sys.maxsize):
            started_s = time.perf_counter()
            events = made_up_events(random, end_ms, options.publications)
            folded = fold([Frame(events, end_ms, end_ms)], end_ms - 60 * MINUTE_MS)
            await apply_engagement(pool, Advance("bench", place, turn, turn + 1), folded)
            if turn == 0:
                print("writing", flush=True)
            await asyncio.sleep(max(0.0, 1 / WRITES_A_SECOND - (time.perf_counter() - started_s)))
    return 0


def made_up_events(random: np.random.Generator, end_ms: int, publications: int) -> Rows:
    """Events of ten publications within their last five minutes: 60 % receipts, 30 % opens, 10 % clicks."""
    events = new_events(WRITTEN_EVENTS)
    part = WRITTEN_EVENTS // 10
    events["publication_id"] = np.repeat(random.integers(1, publications + 1, 10), part)
    events["channel_id"] = 1 + events["publication_id"] % 3
    events["occurred_at"] = end_ms - random.integers(1, 6, WRITTEN_EVENTS) * MINUTE_MS
    kinds = [KIND_INDEX[kind] for kind in (EngagementKind.ACCEPTED, EngagementKind.OPENED, EngagementKind.CLICKED)]
    events["kind"] = random.choice(kinds, WRITTEN_EVENTS, p=[0.6, 0.3, 0.1])
    events["verdict"] = np.where(
        events["kind"] == kinds[0], VERDICT_INDEX[Verdict.UNKNOWN], VERDICT_INDEX[Verdict.HUMAN]
    )
    events["destination"] = random.integers(1, 10**6, WRITTEN_EVENTS)
    return events


@contextlib.asynccontextmanager
async def database() -> AsyncIterator[Settings]:
    """A migrated database of its own, on the server of the settings or on one that is started for it."""
    settings = load_settings()
    with contextlib.ExitStack() as stack:
        if settings.database_url is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tidewire-bench-")))
            server = start_here(folder, ["database"])["database"]
            stack.callback(stop, folder)
        else:
            server = settings.database
        url = await create_database(server, f"bench_query_{secrets.token_hex(4)}")
        try:
            await upgrade(url)
            yield settings.model_copy(update={"database_url": url})
        finally:
            await drop_database(server, url)


Times = tuple[list[list[float]], list[float], list[float]]


def report(options: argparse.Namespace, rows: dict[str, int], times: Times, sizes: tuple[int, int]) -> int:
    """Prints text and the JSON line; returns the exit code."""
    mine, theirs, pages = times
    ours = sorted(one for pair in mine for one in pair)
    p95, page_p95 = percentile(ours, 0.95), percentile(pages, 0.95)
    ratios = sorted(peer / median(pair) for pair, peer in zip(mine, theirs, strict=True))
    peer = "SQL over raw events"
    summary = {
        "bench": "query",
        "unit": "ms of latency a dashboard query",
        "ours": round(median(ours), 2),
        "beside": {peer: round(median(theirs), 1)},
        "ratio": {peer: round(median(ratios), 1)},
        "pairs": options.pairs,
        "spread": [round(ratios[0], 1), round(ratios[-1], 1)],
        "checked": True,
        "at_least": AT_LEAST,
        "aim": AIM,
        "p95_ms": round(p95, 2),
        "page_p95_ms": round(page_p95, 2),
        "p95_at_most_ms": P95_MS,
        "p95_aim_ms": P95_AIM_MS,
    }
    print(f"{options.days} days x {options.publications} publications by {options.grain}, beside the days before:")
    print(
        f"{rows['events']} raw events, {rows['hours']} hour rows, {rows['days']} day rows; {sizes[0]} cells an answer"
    )
    print(f"meanwhile {sizes[1]} events were counted by a writer; {len(ours)} queries of ours")
    print(f"ours p50 {median(ours):.1f} ms, p95 {p95:.1f} ms; raw {median(theirs):.0f} ms; {median(ratios):.0f} times")
    print(f"the page's reading of the windows p50 {median(pages):.1f} ms, p95 {page_p95:.1f} ms")
    print(json.dumps(summary))
    return 0 if median(ratios) >= AT_LEAST and max(p95, page_p95) <= P95_MS else 1


def percentile(ordered: list[float], part: float) -> float:
    """The value that this part of the ordered values does not exceed."""
    return ordered[int(part * (len(ordered) - 1))]


def median(values: list[float]) -> float:
    """The middle value, the upper of two."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
