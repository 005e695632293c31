"""Owns the reading of how sending went: outcomes, latencies, pace, and the evidence of recommendations."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Any

from publishing.domain.recommendations import LOOKBACK, MIN_MESSAGES, RECENT, Evidence, Outcome, Readers, Sending
from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)
# Readers are sampled beyond so many deliveries: the 0.99 percentile then rests on 2,000 of them.
MAX_MEASURED = 200_000

# The provider has it and has not given it back; a complaint is about a message that arrived.
SUCCEEDED = frozenset({"accepted", "delivered", "complained"})
# Nothing more will be tried; what was never to be sent (suppressed, capped, cancelled) is no failure.
FAILED = frozenset({"failed", "bounced", "expired"})


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PerformanceQuery:
    """Which runs to look at: those made at or after starts_at and before ends_at (UTC); None filters nothing."""

    starts_at: dt.datetime
    ends_at: dt.datetime
    channels: tuple[int, ...] | None = None
    publications: tuple[int, ...] | None = None


async def outcomes(pool: Pool, query: PerformanceQuery) -> list[dict[str, Any]]:
    """Count deliveries by channel, state and reason, the most first."""
    return [dict(row) for row in await pool.fetch(SQL.outcomes, *_asked(query))]


async def sample_of(pool: Pool, query: PerformanceQuery) -> int:
    """Return one reader in how many is to be measured."""
    planned: int = await pool.fetchval(SQL.planned, query.starts_at, query.ends_at)
    return max(1, -(-planned // MAX_MEASURED))


async def latencies(pool: Pool, query: PerformanceQuery, sample: int) -> dict[int | None, dict[str, Any]]:
    """Percentiles (0.5, 0.95, 0.99) in ms by channel, and under None of all channels."""
    rows = await pool.fetch(SQL.latencies, *_asked(query), sample)
    return {row["channel_id"]: dict(row) for row in rows}


async def pace(pool: Pool, query: PerformanceQuery) -> dict[str, dict[str, Any]]:
    """What was accepted by minute and by hour: windows, total, and the busiest of them."""
    return {row["grain"]: dict(row) for row in await pool.fetch(SQL.pace, *_asked(query))}


async def evidence(pool: Pool, query: PerformanceQuery, ended: Sequence[Outcome]) -> Evidence:
    """Gather what recommendations rest on: the 90 days before the end of the period, and the outcomes of the period."""
    long = dataclasses.replace(query, starts_at=query.ends_at - LOOKBACK)
    sample = await sample_of(pool, long)
    sendings = [Sending(**row) for row in await pool.fetch(SQL.sendings, *_asked(long))]
    bounced = {row["channel_id"]: row["readers"] for row in await pool.fetch(SQL.bounced_active, *_asked(long))}
    recent = query.ends_at - RECENT
    rows = await pool.fetch(SQL.readers, *_asked(long), sample, recent, MIN_MESSAGES)
    readers = [Readers(**row, sample_of=sample, bounced_active=bounced.pop(row["channel_id"], 0)) for row in rows]
    readers += [_only_bounced(channel_id, count) for channel_id, count in bounced.items()]
    return Evidence(
        starts_at=query.starts_at, ends_at=query.ends_at, sendings=sendings, outcomes=list(ended), readers=readers
    )


def outcomes_by_channel(rows: Sequence[dict[str, Any]]) -> list[Outcome]:
    """How the deliveries of each channel ended, by number of the channel."""
    found: dict[int, list[int]] = {}
    for row in rows:
        sums = found.setdefault(row["channel_id"], [0, 0])
        sums[0] += row["deliveries"] if row["state"] in SUCCEEDED else 0
        sums[1] += row["deliveries"] if row["state"] in SUCCEEDED | FAILED else 0
    return [Outcome(channel_id=one, succeeded=sums[0], settled=sums[1]) for one, sums in sorted(found.items())]


def _only_bounced(channel_id: int, count: int) -> Readers:
    names = [field.name for field in dataclasses.fields(Readers)]
    return Readers(**{**dict.fromkeys(names, 0), "channel_id": channel_id, "sample_of": 1, "bounced_active": count})


def _asked(query: PerformanceQuery) -> list[Any]:
    named = (query.channels, query.publications)
    return [query.starts_at, query.ends_at, *(None if one is None else list(one) for one in named)]
