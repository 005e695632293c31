"""`python -m perf.providers`: all simulators in one process; prints their ports as one JSON line, then serves."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
from collections.abc import Sequence

import uvloop

from perf.providers.discord import Discord
from perf.providers.journal import LOG_MAX_BYTES, RAW_MAX_BYTES, Journal, RawRing
from perf.providers.serving import HOST, serve
from perf.providers.ses import Ses
from perf.providers.simulator import Simulator, Times
from perf.providers.slack import Slack
from perf.providers.webhook import Webhook
from publishing.runtime.clock import monotonic_s, now_ms

NAMES = ("ses", "slack", "discord", "webhook")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the parsed command line."""
    parser = argparse.ArgumentParser(prog="python -m perf.providers", description=__doc__)
    for name in NAMES:
        parser.add_argument(f"--{name}-port", type=int, default=0, help="0 = any free port")
    parser.add_argument("--ses-rate", type=float, default=0.0, help="recipients a second, 0 = unlimited")
    parser.add_argument("--ses-quota", type=float, default=0.0, help="recipients in all, 0 = unlimited")
    parser.add_argument("--slack-rate", type=float, default=0.0, help="posts a second of a webhook, 0 = unlimited")
    parser.add_argument("--discord-limit", type=int, default=50, help="executions of a webhook in a window")
    parser.add_argument("--discord-window", type=float, default=1.0, help="seconds of the window")
    parser.add_argument("--log-max-bytes", type=int, default=LOG_MAX_BYTES, help="rows kept in memory, each simulator")
    parser.add_argument("--raw-max-bytes", type=int, default=RAW_MAX_BYTES, help="raw mails kept in a temporary file")
    return parser.parse_args(arguments)


def build_simulators(options: argparse.Namespace, times: Times) -> dict[str, Simulator]:
    """Return the simulators by name."""

    def journal() -> Journal:
        return Journal(log_max_bytes=options.log_max_bytes, raw=RawRing(options.raw_max_bytes))

    providers = (
        Ses(journal=journal(), max_send_rate=options.ses_rate, max_24_hour_send=options.ses_quota),
        Slack(journal=journal(), per_second=options.slack_rate),
        Discord(journal=journal(), limit=options.discord_limit, window_s=options.discord_window),
        Webhook(journal=journal()),
    )
    return {provider.name: Simulator(provider, times) for provider in providers}


async def serve_until_signal(options: argparse.Namespace) -> None:
    """Serve until SIGTERM or SIGINT."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    simulators = build_simulators(options, Times(now_ms=now_ms, monotonic_s=monotonic_s))
    wanted = {name: getattr(options, f"{name}_port") for name in NAMES}
    async with serve(simulators, wanted) as ports:
        urls = {name: f"http://{HOST}:{port}" for name, port in ports.items()}
        print(json.dumps({**ports, "urls": urls, "pid": os.getpid()}), flush=True)
        await stopped.wait()


def main() -> None:
    """Run the command line."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve_until_signal(parse_arguments()))


if __name__ == "__main__":
    main()
