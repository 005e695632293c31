"""`python -m perf.load PORT FILE`: sends the requests of a file, closed loop or at a rate; prints one JSON object."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import resource
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import uvloop

from perf.load.wire import Connection, Tally
from publishing.runtime.clock import monotonic_s

HOST = "127.0.0.1"
# Connections that are being opened at once: more would only overflow the listener's backlog.
OPENING = 200
TICK_S = 0.001
# How long what is still unanswered at the end is waited for.
PATIENCE_S = 30.0


class Load:
    """Sends requests over connections from several addresses of 127.0.0.0/8."""

    def __init__(self, arguments: argparse.Namespace, requests: list[bytes]) -> None:
        """Keep what is to be sent."""
        self._arguments = arguments
        self._requests: Iterator[bytes] = itertools.cycle(requests)
        self._tally = Tally()
        self._connections: list[Connection] = []
        self._free: deque[Connection] = deque()
        self._due_s: deque[float] = deque()
        self._left = 0
        self._all_ended = asyncio.Event()
        self._wanted = 0

    async def run(self) -> dict[str, object]:
        """Open the connections, send, and tell what came of it."""
        await self._connect()
        print("ready", flush=True)
        started_s = monotonic_s()
        if self._arguments.rate:
            await self._open_loop(started_s)
        else:
            self._closed_loop(started_s)
        try:
            async with asyncio.timeout(self._arguments.patience):
                await self._all_ended.wait()
        except TimeoutError:
            self._tally.failures["unanswered"] += self._wanted - self._tally.ended
        seconds = monotonic_s() - started_s
        for connection in self._connections:
            connection.close()
        return self._summary(seconds)

    async def _connect(self) -> None:
        loop, gate = asyncio.get_running_loop(), asyncio.Semaphore(OPENING)

        async def connect(number: int) -> None:
            source = (
                f"127.0.{number % self._arguments.addresses // 250 + 1}.{number % self._arguments.addresses % 250 + 1}"
            )
            async with gate:
                _, connection = await loop.create_connection(
                    lambda: Connection(self._tally, monotonic_s, self._on_idle),
                    HOST,
                    self._arguments.port,
                    local_addr=(source, 0),
                )
            self._connections.append(connection)
            self._free.append(connection)

        async with asyncio.TaskGroup() as group:
            for number in range(self._arguments.connections):
                group.create_task(connect(number))

    def _closed_loop(self, started_s: float) -> None:
        """Each connection asks again as soon as it is answered."""
        self._wanted = self._left = self._arguments.count
        for _ in range(min(self._left, len(self._free))):
            self._left -= 1
            self._free.popleft().ask(next(self._requests), started_s)

    async def _open_loop(self, started_s: float) -> None:
        """Requests are due at their times, whether those before them are answered or not."""
        rate = self._arguments.rate
        self._wanted = int(rate * self._arguments.seconds)
        sent = 0
        while sent < self._wanted:
            due = min(int((monotonic_s() - started_s) * rate), self._wanted)
            for number in range(sent, due):
                self._due_s.append(started_s + number / rate)
            sent = due
            while self._due_s and self._free:
                self._free.popleft().ask(next(self._requests), self._due_s.popleft())
            await asyncio.sleep(TICK_S)

    def _on_idle(self, connection: Connection) -> None:
        if self._tally.ended >= self._wanted:
            self._all_ended.set()
        elif self._due_s:
            connection.ask(next(self._requests), self._due_s.popleft())
        elif self._left:
            self._left -= 1
            connection.ask(next(self._requests), monotonic_s())
        else:
            self._free.append(connection)

    def _summary(self, seconds: float) -> dict[str, object]:
        latencies = sorted(self._tally.latencies_s) or [0.0]
        return {
            "statuses": {str(status): count for status, count in sorted(self._tally.statuses.items())},
            "failures": dict(self._tally.failures),
            "wanted": self._wanted,
            "seconds": round(seconds, 3),
            "latency_ms": {
                f"p{share:g}": round(latencies[min(int(len(latencies) * share / 100), len(latencies) - 1)] * 1000, 2)
                for share in (50, 95, 99, 99.9, 100)
            },
        }


def main() -> int:
    """Read the command line and send; exit code 0 whatever was answered."""
    parser = argparse.ArgumentParser(prog="perf.load", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("file", type=Path, help="requests as they go over the wire, separated by NUL")
    parser.add_argument("--connections", type=int, default=128)
    parser.add_argument("--addresses", type=int, default=16, help="source addresses in 127.0.1.1 and up")
    parser.add_argument("--count", type=int, default=10_000, help="requests of a closed loop")
    parser.add_argument("--rate", type=float, default=0, help="requests a second of an open loop")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--patience", type=float, default=PATIENCE_S)
    arguments = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    requests = arguments.file.read_bytes().split(b"\0")

    async def run() -> dict[str, object]:
        return await Load(arguments, requests).run()

    print(json.dumps(uvloop.run(run())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
