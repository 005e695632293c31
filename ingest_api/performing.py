"""Owns the answer to how sending went: outcomes, latencies, pace, failures and what is recommended."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from ingest_api.analysis import freshness
from ingest_api.views import ChannelPerformance, Failure, Latency, Pace, PerformanceView, RecommendationView
from publishing.domain.rates import rate
from publishing.domain.recommendations import Outcome, recommend
from publishing.stores import analytics, performance
from publishing.stores.availability import Pool
from publishing.stores.performance import FAILED, PerformanceQuery

MAX_FAILURES = 50
Rows = Iterable[Mapping[str, Any]]


async def performance_view(pool: Pool, query: PerformanceQuery, now: dt.datetime) -> PerformanceView:
    """Read how the runs of a period went, and what follows from them and the time before."""
    watermark = await analytics.watermark(pool)
    rows = await performance.outcomes(pool, query)
    ended = performance.outcomes_by_channel(rows)
    sample = await performance.sample_of(pool, query)
    measured = await performance.latencies(pool, query, sample)
    pace = await performance.pace(pool, query)
    evidence = await performance.evidence(pool, query, ended)
    success = rate(sum(one.succeeded for one in ended), sum(one.settled for one in ended))
    return PerformanceView(
        freshness=freshness(watermark, now),
        success_rate=success.ratio,
        success=success,
        by_state=_by_state(rows),
        sample_of=sample,
        latency_ms=_to_provider(measured.get(None)),
        first_open_ms=_to_open(measured.get(None)),
        throughput={f"per_{grain}": _pace(pace.get(grain)) for grain in ("minute", "hour")},
        failures=_failures(rows),
        channels=[_channel(one, rows, measured.get(one.channel_id)) for one in ended],
        recommendations=[RecommendationView(one.kind, one.evidence, one.action) for one in recommend(evidence)],
    )


def _channel(one: Outcome, rows: Rows, measured: Mapping[str, Any] | None) -> ChannelPerformance:
    mine = [row for row in rows if row["channel_id"] == one.channel_id]
    return ChannelPerformance(
        channel_id=one.channel_id,
        kind=mine[0]["kind"],
        success=rate(one.succeeded, one.settled),
        by_state=_by_state(mine),
        latency_ms=_to_provider(measured),
        first_open_ms=_to_open(measured),
    )


def _by_state(rows: Rows) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        found[row["state"]] = found.get(row["state"], 0) + row["deliveries"]
    return dict(sorted(found.items()))


def _failures(rows: Rows) -> list[Failure]:
    failed = [row for row in rows if row["state"] in FAILED or row["state"] in {"retry", "in_doubt"}]
    return [Failure(row["channel_id"], row["state"], row["reason"], row["deliveries"]) for row in failed[:MAX_FAILURES]]


def _to_provider(row: Mapping[str, Any] | None) -> Latency:
    return Latency(row["accepted"], *row["to_provider_ms"]) if row and row["accepted"] else Latency(0, None, None, None)


def _to_open(row: Mapping[str, Any] | None) -> Latency:
    return Latency(row["opened"], *row["to_open_ms"]) if row and row["opened"] else Latency(0, None, None, None)


def _pace(row: Mapping[str, Any] | None) -> Pace:
    if row is None:
        return Pace(0, None, 0, None)
    return Pace(row["windows"], row["total"] / row["windows"], row["busiest"], row["busiest_at"])
