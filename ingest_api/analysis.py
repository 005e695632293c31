"""Owns the answers to analysts' questions: engagement with its trends and rates, and how sending went."""

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, cast

from ingest_api.views import EngagementCell, EngagementView, Freshness, RateGroup, RateView, Trend
from publishing.domain.rates import Rate, counts_of, engagement_rates
from publishing.stores import analytics
from publishing.stores.analytics import MAX_CELLS, EngagementQuery
from publishing.stores.availability import Pool

# Groups of rates that one answer holds, those with the most acceptances first.
MAX_GROUPS = 1_000
_TOLD = ("publication_id", "run_id", "arm")
Sums = Mapping[str, Any]


async def engagement_view(pool: Pool, query: EngagementQuery, now: dt.datetime) -> EngagementView:
    """Read what was asked for, and what it is compared with."""
    async with analytics.snapshot(pool) as moment:
        watermark = await analytics.watermark(moment)
        cells = await analytics.series(moment, query, watermark)
        # Cells that tell verdicts apart and are all there are sums themselves: the rows need not be read twice.
        is_whole = len(cells) <= MAX_CELLS and query.kinds is None and "verdict" in query.splits
        sums = cells if is_whole else await analytics.totals(moment, query)
        before = await analytics.totals(moment, query.before(now))
    return EngagementView(
        watermark=watermark,
        freshness=freshness(watermark, now),
        # Rows of the shape of a cell: 20,000 structs more would hold up the links that this process answers as well.
        series=cast("list[EngagementCell]", cells[:MAX_CELLS]),
        truncated=len(cells) > MAX_CELLS,
        trends=trends(totals_by_kind(sums, query.kinds), totals_by_kind(before, query.kinds)),
        rates=compared(sums, before),
        groups=_groups(sums, before, query.splits),
    )


def freshness(watermark: dt.datetime | None, now: dt.datetime) -> Freshness:
    """Say how far engagement is counted, and how long ago that is."""
    return Freshness(watermark, None if watermark is None else (now - watermark).total_seconds())


def totals_by_kind(sums: Iterable[Sums], kinds: tuple[str, ...] | None) -> dict[str, int]:
    """Sum the totals by kind, of the kinds asked for."""
    found: dict[str, int] = {}
    for row in sums:
        if kinds is None or row["kind"] in kinds:
            found[row["kind"]] = found.get(row["kind"], 0) + row["total"]
    return found


def trends(now: dict[str, int], before: dict[str, int]) -> dict[str, Trend]:
    """Compare two periods by kind: 30 after 20 is a change_ratio of 0.5."""
    found = {}
    for kind in sorted(now.keys() | before.keys()):
        total, earlier = now.get(kind, 0), before.get(kind, 0)
        found[kind] = Trend(total, earlier, (total - earlier) / earlier if earlier else None)
    return found


def compared(sums: Iterable[Sums], before: Iterable[Sums]) -> dict[str, RateView]:
    """The rates of a period, each with what it was in the period before."""
    earlier = engagement_rates(counts_of(before))
    return {name: _shown(rate, earlier[name]) for name, rate in engagement_rates(counts_of(sums)).items()}


def _shown(rate: Rate, earlier: Rate) -> RateView:
    return RateView(rate.count, rate.of, rate.ratio, rate.low, rate.high, earlier.ratio)


def _groups(sums: Iterable[Sums], before: Iterable[Sums], splits: frozenset[str]) -> list[RateGroup]:
    names = [name for name in _TOLD if name.removesuffix("_id") in splits]
    if not names:
        return []
    now, earlier = _by(names, sums), _by(names, before)
    largest = sorted(now, key=lambda key: (-sum(row["total"] for row in now[key] if row["kind"] == "accepted"), key))
    return [
        RateGroup(rates=compared(now[key], earlier.get(key, [])), **dict(zip(names, key, strict=True)))
        for key in largest[:MAX_GROUPS]
    ]


def _by(names: list[str], sums: Iterable[Sums]) -> dict[tuple[int, ...], list[Sums]]:
    found: dict[tuple[int, ...], list[Sums]] = {}
    for row in sums:
        found.setdefault(tuple(row[name] for name in names), []).append(row)
    return found
