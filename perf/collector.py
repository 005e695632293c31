"""A reader's hit, all work done and in the broker before the answer, beside bare ASGI and FastAPI (server CPU)."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
from pathlib import Path

from perf.load.servers import OURS, Server, free_port, load, peer_command, running
from perf.load.site import Site, modelled_hits, opened, reader_hits
from publishing.runtime.settings import environment

BARE, MODEL = "bare ASGI under uvicorn, a constant", "FastAPI route with a model"
# Throughput per CPU-second, ours over the peer's.
AT_LEAST = {BARE: 0.40, MODEL: 2.5}
AIM = {BARE: 0.6, MODEL: 4.0}
DISTINCT = 5_000
WARM_UP = 2_000


def cpu_us(server: Server, requests: Path, count: int, connections: int) -> tuple[float, int]:
    """CPU time of the server's process for one hit, microseconds, and how many were answered as they should be."""
    before_s = server.cpu_s()
    result = load(server.port, requests, count=count, connections=connections)
    answered = sum(result["statuses"].get(status, 0) for status in ("200", "302"))
    if answered != count:
        sys.exit(f"not all of {count} hits were answered well: {result}")
    return (server.cpu_s() - before_s) / count * 1e6, answered


async def measure(site: Site, arguments: argparse.Namespace) -> tuple[list[dict[str, float]], int, int]:
    """The CPU time of each contestant in each round, the hits that ours answered, and the events in the log."""
    hits = site.write("hits", reader_hits(site.ring, DISTINCT))
    models = site.write("models", modelled_hits(DISTINCT))
    rounds, answered = [], 0
    with contextlib.ExitStack() as stack:
        log = site.folder / "servers.log"
        ports = {BARE: free_port(), MODEL: free_port()}
        ours = stack.enter_context(running(OURS, site.variables, site.port, log))
        peers = {
            name: stack.enter_context(running(peer_command(which, ports[name]), environment(), ports[name], log))
            for name, which in ((BARE, "constant"), (MODEL, "modelled"))
        }
        for number in range(arguments.pairs + 1):
            count = arguments.count if number else min(arguments.count, WARM_UP)
            mine, good = cpu_us(ours, hits, count, arguments.connections)
            answered += good
            figures = {"ours": mine}
            for name, server in peers.items():
                figures[name], _ = cpu_us(server, hits if name == BARE else models, count, arguments.connections)
            if number:
                rounds.append(figures)
        print(f"resident memory of the collector: {ours.rss_mb():.0f} MB")
    return rounds, answered, await site.events()


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


async def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 below AT_LEAST or when the log does not hold what was answered."""
    async with opened() as site:
        rounds, answered, events = await measure(site, arguments)
    ratios = {name: [one[name] / one["ours"] for one in rounds] for name in (BARE, MODEL)}
    beside = {name: round(middle([one[name] for one in rounds]), 1) for name in ratios}
    summary = {
        "bench": "collector",
        "unit": "us of the server's CPU a hit",
        "ours": round(middle([one["ours"] for one in rounds]), 1),
        "beside": beside,
        "ratio": {name: round(middle(values), 2) for name, values in ratios.items()},
        "pairs": len(rounds),
        "spread": [round(min(ratios[BARE]), 2), round(max(ratios[BARE]), 2)],
        "checked": answered == events,
        "at_least": AT_LEAST,
        "aim": AIM,
    }
    print(f"{answered} hits answered, {events} events in the log")
    for name, values in ratios.items():
        print(f"throughput per CPU beside {name}: {middle(values):.2f} ({beside[name]} us)")
    print(json.dumps(summary))
    is_enough = all(middle(values) >= AT_LEAST[name] for name, values in ratios.items())
    return 0 if is_enough and answered == events else 1


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="perf collector", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=30_000, help="hits of one round")
    parser.add_argument("--connections", type=int, default=256)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
