"""Connections that ask one thing after the other over HTTP/1.1 keep-alive, with as little work as can be."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import cast

_LENGTH = b"content-length: "


class Tally:
    """What came of the requests: how often each status, what failed, and each latency in seconds."""

    def __init__(self) -> None:
        """Start with nothing."""
        self.statuses: Counter[int] = Counter()
        self.failures: Counter[str] = Counter()
        self.latencies_s: list[float] = []

    @property
    def ended(self) -> int:
        """How many requests were answered or failed."""
        return self.statuses.total() + self.failures.total()


class Connection(asyncio.Protocol):
    """One keep-alive connection; `idle` is called with it whenever it may ask again."""

    def __init__(self, tally: Tally, clock_s: Callable[[], float], idle: Callable[[Connection], None]) -> None:
        """Keep where answers are counted."""
        self._tally = tally
        self._clock_s = clock_s
        self._idle = idle
        self._transport: asyncio.Transport | None = None
        self._due_s: float | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's has the methods, not the name

    def ask(self, request: bytes, due_s: float) -> None:
        """Send a request that was due at a time; its latency counts from then, not from when it could be sent."""
        if self._transport is None or self._transport.is_closing():
            self._tally.failures["closed"] += 1
            return
        self._due_s = due_s
        self._transport.write(request)

    def data_received(self, chunk: bytes) -> None:
        """Count an answer once it is whole."""
        received = self._buffer + chunk if self._buffer else chunk
        head = received.find(b"\r\n\r\n")
        if head < 0:
            self._buffer = received
            return
        start = received.lower().find(_LENGTH, 0, head)
        length = int(received[start + len(_LENGTH) : received.index(b"\r", start)]) if start >= 0 else 0
        if len(received) < head + 4 + length:
            self._buffer = received
            return
        self._buffer = b""
        self._tally.statuses[int(received[9:12])] += 1
        if self._due_s is not None:
            self._tally.latencies_s.append(self._clock_s() - self._due_s)
        self._due_s = None
        self._idle(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count what was asked and will not be answered."""
        self._transport = None
        if self._due_s is not None:
            self._due_s = None
            self._tally.failures[type(exc).__name__ if exc else "closed"] += 1

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()
