"""10,000 readers who hit at the same moment, from 200 addresses: none lost, none refused."""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sys
from typing import Any

from perf.load.servers import OURS, load, running
from perf.load.site import opened, reader_hits

READERS = 10_000
ADDRESSES = 200
WARM_UP = 1_000
# A connection is a descriptor on either side, and each side is a process of its own.
DESCRIPTORS = READERS + 1_000


async def run(arguments: argparse.Namespace) -> int:
    """Send and compare with the log; 1 when a hit is refused or lost."""
    rounds: list[dict[str, Any]] = []
    async with opened() as site:
        hits = site.write("hits", reader_hits(site.ring, min(arguments.readers, 5_000)))
        with running(OURS, site.variables, site.port, site.folder / "server.log") as server:
            load(server.port, hits, count=WARM_UP, connections=64)
            for _ in range(arguments.rounds):
                before = await site.events()
                result = load(
                    server.port,
                    hits,
                    count=arguments.readers,
                    connections=arguments.readers,
                    addresses=arguments.addresses,
                    patience=60,
                )
                good = sum(result["statuses"].get(status, 0) for status in ("200", "302"))
                refused = arguments.readers - good
                lost = good - (await site.events() - before)
                rounds.append({"p99": result["latency_ms"]["p99"], "refused": refused, "lost": lost})
                print(
                    f"{good} answered, {refused} refused, {lost} lost, {result['latency_ms']} ms, {result['failures']}"
                )
            print(f"resident memory of the collector at its peak: {server.rss_mb(peak=True):.0f} MB")
    p99s = sorted(one["p99"] for one in rounds)
    is_whole = all(one["refused"] == 0 == one["lost"] for one in rounds)
    summary = {
        "bench": "flood",
        "unit": f"ms, 99th percentile of {arguments.readers} hits at once",
        "ours": p99s[len(p99s) // 2],
        "beside": {},
        "ratio": {},
        "pairs": len(rounds),
        "spread": [p99s[0], p99s[-1]],
        "checked": is_whole,
        "at_least": None,
        "aim": None,
    }
    print(json.dumps(summary))
    return 0 if is_whole else 1


def main() -> int:
    """Read the command line, raise the limit of descriptors, and run."""
    parser = argparse.ArgumentParser(prog="perf flood", description=__doc__)
    parser.add_argument("--readers", type=int, default=READERS)
    parser.add_argument("--addresses", type=int, default=ADDRESSES, help="in 127.0.0.0/8")
    parser.add_argument("--rounds", type=int, default=3)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < DESCRIPTORS:
        print(f"{DESCRIPTORS} descriptors are needed, and {hard} allowed", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
