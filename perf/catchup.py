"""Catch-up after kill -9 with a million events of lag, beside the rate of a warm worker (events a second)."""

from __future__ import annotations

import argparse
import asyncio
import sys

from perf.streaming.contest import HOUR_MS, median, report
from perf.streaming.mix import Record, frames, made_up_events
from perf.streaming.site import SHARDS, produce, services, site
from perf.streaming.worker import BenchError, Worker, count_events, engagement_app
from publishing.local.addresses import ServiceAddresses
from publishing.runtime.clock import monotonic_s, now_ms

EVENTS_PER_FRAME = 200
AT_LEAST, AIM = 0.7, 0.9
# The part of the log that each rate is taken over: its beginning warms up, its end is idle partitions.
FROM, TO = 0.1, 0.9


async def pair(addresses: ServiceAddresses, *, events: int, seed: int) -> tuple[float, float, float]:
    """One worker's steady rate, the rate of the one after its kill (events/s), and the seconds until that one moved.

    The worker drains one log warm; then as many events again wait while it is dead. Raises BenchError unless every
    event of both is counted once.
    """
    async with site(addresses) as at:
        warm = await produce(addresses.kafka, at.topic, _records(events, seed))
        async with engagement_app(at) as worker:
            steady = await _rate(worker, start=0, records=warm)
            await worker.until(warm)
            await worker.kill()
        lag = await produce(addresses.kafka, at.topic, _records(events, seed + 1_000_000))
        started_s = monotonic_s()
        async with engagement_app(at) as successor:
            moved = await successor.until(warm + 1)
            caught_up = await _rate(successor, start=warm, records=lag)
            await successor.until(warm + lag)
        counted = await count_events(at)
        if counted != 2 * events:
            raise BenchError(f"{counted} of {2 * events} events were counted")
    return steady * events / warm, caught_up * events / lag, moved.at_s - started_s


def _records(events: int, seed: int) -> list[Record]:
    of_shards = made_up_events(events, shards=SHARDS, start_ms=now_ms() - HOUR_MS, seed=seed)
    return list(frames(of_shards, EVENTS_PER_FRAME, now_ms(), name=str(seed)))


async def _rate(worker: Worker, *, start: int, records: int) -> float:
    """Records a second over the middle of the log."""
    first = await worker.until(start + int(records * FROM))
    last = await worker.until(start + int(records * TO))
    return (last.records - first.records) / (last.at_s - first.at_s)


async def bench(events: int, pairs: int) -> dict[str, object]:
    """Run the pairs and return the bench's JSON object."""
    found = []
    async with services() as addresses:
        for seed in range(pairs):
            found.append(await pair(addresses, events=events, seed=seed))
            steady, caught_up, wait_s = found[-1]
            print(f"steady {steady:,.0f}/s, after the kill {caught_up:,.0f}/s, first move {wait_s:.1f} s", flush=True)
    ratios = sorted(caught_up / steady for steady, caught_up, _ in found)
    name = "a warm worker"
    return {
        "bench": "catchup",
        "unit": "events a second",
        "ours": round(median([caught_up for _, caught_up, _ in found])),
        "beside": {name: round(median([steady for steady, _, _ in found]))},
        "ratio": {name: round(median(ratios), 2)},
        "pairs": pairs,
        "spread": [round(ratios[0], 2), round(ratios[-1], 2)],
        "checked": True,
        "at_least": {name: AT_LEAST},
        "aim": {name: AIM},
        "first_move_s": round(median([wait_s for _, _, wait_s in found]), 1),
    }


def main() -> int:
    """Runs the pairs and prints the figures; exit code 1 below what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="an odd number")
    parser.add_argument("--events", type=int, default=1_000_000, help="events of each log")
    given = parser.parse_args()
    return report(asyncio.run(bench(given.events, given.pairs)))


if __name__ == "__main__":
    sys.exit(main())
