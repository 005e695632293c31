"""Engagement frames of 200 through Faust to PostgreSQL, beside naive Faust, Quix Streams and a loop by hand (CPU)."""

from __future__ import annotations

import argparse
import asyncio
import sys

from perf.streaming.contest import BY_HAND, NAIVE, QUIX, Side, contest, report

EVENTS_PER_FRAME = 200
SIDES = (
    Side(name=NAIVE[0], script=NAIVE[1], reference_us=NAIVE[2], events=30_000, at_least=40, aim=70),
    Side(name=QUIX[0], script=QUIX[1], reference_us=QUIX[2], events=100_000, at_least=6, aim=10),
    Side(name=BY_HAND[0], script=BY_HAND[1], events=200_000, at_least=1.3, aim=2.5),
)


def main() -> int:
    """Runs the pairs and prints the figures; exit code 1 below what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="an odd number")
    parser.add_argument("--events", type=int, default=400_000, help="how many events ours drains each time")
    given = parser.parse_args()
    found = asyncio.run(
        contest("engagement", events_per_frame=EVENTS_PER_FRAME, events=given.events, sides=SIDES, pairs=given.pairs)
    )
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
