"""Hits at a steady 5,000 a second for a minute, open loop, durable in the broker: latency, loss, memory."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

from perf.load.servers import OURS, load, running
from perf.load.site import opened, reader_hits

P99_AT_LEAST_MS, P99_AIM_MS = 50.0, 20.0
RSS_AT_MOST_MB = 150.0
DISTINCT = 5_000
WARM_UP = 3_000


async def run(arguments: argparse.Namespace) -> int:
    """Send, compare with the log, print; 1 when a hit is lost, late, or the collector is too large."""
    rounds: list[dict[str, Any]] = []
    async with opened() as site:
        hits = site.write("hits", reader_hits(site.ring, DISTINCT))
        with running(OURS, site.variables, site.port, site.folder / "server.log") as server:
            load(server.port, hits, count=WARM_UP, connections=64)
            warm = await site.events()
            for _ in range(arguments.rounds):
                before_s, events = server.cpu_s(), await site.events()
                result = load(
                    server.port,
                    hits,
                    rate=arguments.rate,
                    seconds=arguments.seconds,
                    connections=arguments.connections,
                )
                good = sum(result["statuses"].get(status, 0) for status in ("200", "302"))
                used_s = server.cpu_s() - before_s
                rounds.append(
                    {
                        "p99": result["latency_ms"]["p99"],
                        "lost": result["wanted"] - min(good, await site.events() - events),
                        "cores": used_s / result["seconds"],
                        **result,
                    }
                )
                print(
                    f"{result['wanted']} hits: {result['latency_ms']} ms, failures {result['failures']}, "
                    f"{rounds[-1]['lost']} lost, {rounds[-1]['cores']:.2f} cores, {server.rss_mb():.0f} MB"
                )
            rss_mb = server.rss_mb(peak=True)
    p99s = sorted(one["p99"] for one in rounds)
    lost = sum(one["lost"] for one in rounds) + WARM_UP - warm
    p99 = p99s[len(p99s) // 2]
    summary = {
        "bench": "steady",
        "unit": "ms, 99th percentile from when the hit was due",
        "ours": p99,
        "beside": {"resident memory of the collector at its peak, MB": round(rss_mb)},
        "ratio": {},
        "pairs": len(rounds),
        "spread": [p99s[0], p99s[-1]],
        "checked": lost == 0,
        "at_least": P99_AT_LEAST_MS,
        "aim": P99_AIM_MS,
    }
    print(json.dumps(summary))
    return 0 if lost == 0 and p99 <= P99_AT_LEAST_MS and rss_mb <= RSS_AT_MOST_MB else 1


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="perf steady", description=__doc__)
    parser.add_argument("--rate", type=float, default=5_000, help="hits a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--connections", type=int, default=256)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
