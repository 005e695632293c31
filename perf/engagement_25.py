"""Engagement frames of 25 through Faust to PostgreSQL, beside naive Faust (CPU of the worker)."""

from __future__ import annotations

import argparse
import asyncio
import sys

from perf.streaming.contest import NAIVE, Side, contest, report

EVENTS_PER_FRAME = 25
SIDES = (Side(name=NAIVE[0], script=NAIVE[1], reference_us=NAIVE[2], events=30_000, at_least=15, aim=30),)


def main() -> int:
    """Runs the pairs and prints the figures; exit code 1 below what is asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5, help="an odd number")
    parser.add_argument("--events", type=int, default=200_000, help="how many events ours drains each time")
    given = parser.parse_args()
    found = asyncio.run(
        contest("engagement_25", events_per_frame=EVENTS_PER_FRAME, events=given.events, sides=SIDES, pairs=given.pairs)
    )
    return report(found)


if __name__ == "__main__":
    sys.exit(main())
