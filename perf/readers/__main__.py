"""`python -m perf.readers`: readers that open and click the mails of the SES simulator; prints a JSON summary."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from collections.abc import Sequence
from pathlib import Path

from perf.readers.habit import Habits
from perf.readers.reader import Readers
from publishing.runtime.clock import monotonic_s, now_ms


def _ratio(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("a ratio is in [0, 1]")
    return value


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.readers", description=__doc__)
    parser.add_argument("--ses-url", required=True, help="the SES simulator")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--open-ratio", type=_ratio, default=0.6)
    parser.add_argument("--click-ratio", type=_ratio, default=0.3)
    parser.add_argument("--unsubscribe-ratio", type=_ratio, default=0.0)
    parser.add_argument("--gateway-ratio", type=_ratio, default=0.0, help="mails whose links a machine follows first")
    parser.add_argument("--min-delay", type=float, default=0.0, help="seconds between a mail and its reader, at least")
    parser.add_argument("--max-delay", type=float, default=0.0, help="and at most")
    parser.add_argument("--front-url", default=None, help="goes in place of scheme and host of tracked links")
    parser.add_argument("--log", type=Path, required=True, help="NDJSON of each hit, appended")
    parser.add_argument("--settle", type=float, default=None, help="end after so many idle seconds")
    return parser.parse_args(arguments)


async def read_until_done(options: argparse.Namespace) -> dict[str, int]:
    """Run the readers until SIGTERM, SIGINT or idleness and return their summary."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    habits = Habits(
        seed=options.seed,
        open_ratio=options.open_ratio,
        click_ratio=options.click_ratio,
        unsubscribe_ratio=options.unsubscribe_ratio,
        gateway_ratio=options.gateway_ratio,
        min_delay_s=options.min_delay,
        max_delay_s=max(options.max_delay, options.min_delay),
    )
    with options.log.open("a", encoding="utf-8") as log:
        readers = Readers(
            ses_url=options.ses_url.rstrip("/"),
            habits=habits,
            log=log,
            now_ms=now_ms,
            monotonic_s=monotonic_s,
            front_url=options.front_url,
            settle_s=options.settle,
        )
        return await readers.run(stopped)


def main() -> None:
    """Run the command line."""
    print(json.dumps(asyncio.run(read_until_done(parse_arguments()))), flush=True)


if __name__ == "__main__":
    main()
