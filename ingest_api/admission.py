"""Owns what the edge allows: its limits, who may connect, and the one sweep that ends what is overdue."""

import asyncio
import math
from collections import Counter
from dataclasses import dataclass
from http import HTTPStatus
from typing import Protocol

from ingest_api.client_address import TrustedProxies, parse_networks
from ingest_api.limits import MAX_LINES_BYTES
from ingest_api.problems import MEDIA_TYPE, RETRY_AFTER_S, ProblemError
from publishing.runtime import metrics
from publishing.runtime.settings import Settings

# A real client sends 10 to 30 headers; 100 is what Apache allows (LimitRequestFields).
MAX_HEADERS = 100
# Requests that one connection may send ahead of their answers.
MAX_PIPELINED = 16
# What is refused is heard out for this long, so that a client that still sends can read why (RFC 9112, 9.6).
LINGER_S = 2.0
MAX_LINGER_BYTES = 16_777_216
# Connections that are heard out at a time; beyond them a refusal is a closed connection.
MAX_LINGERING = 64
# Descriptors that connections leave to the services, the spool and the log.
RESERVED_DESCRIPTORS = 128
LONGEST_TICK_S = 1.0
SHORTEST_TICK_S = 0.05


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a connection ends: a metric's label, and the problem that says so."""

    reason: str
    status: int
    detail: str

    def answer(self) -> bytes:
        """Encode the whole answer; the connection ends with it."""
        body = ProblemError(self.status, self.detail).body()
        retry = f"retry-after: {RETRY_AFTER_S}\r\n" if self.status in {429, 503} else ""
        head = (
            f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}\r\ncontent-type: {MEDIA_TYPE}\r\n"
            f"content-length: {len(body)}\r\ncache-control: no-store\r\n{retry}connection: close\r\n\r\n"
        )
        return head.encode() + body


HEAD_OVERDUE = Refusal("header_deadline", 408, "The head of the request did not come in time.")
BODY_OVERDUE = Refusal("body_deadline", 408, "The body of the request did not come in time.")
HEAD_TOO_LARGE = Refusal("header_size", 431, "The head of the request is too large, or has too many headers.")
BODY_TOO_LARGE = Refusal("body_size", 413, "The body of the request is larger than any that is taken here.")
BODY_CODED = Refusal("body_coding", 415, "A body must not be compressed.")
MALFORMED = Refusal("malformed", 400, "This is not a request of HTTP/1.1.")
ADDRESS_FULL = Refusal("address_cap", 429, "This client has too many connections.")
SERVER_FULL = Refusal("connection_cap", 503, "There are too many connections.")


@dataclass(frozen=True, slots=True)
class EdgeLimits:
    """Deadlines in seconds and caps in bytes or connections; see the settings of the same names."""

    header_wait_s: float
    body_wait_s: float
    write_wait_s: float
    keep_alive_s: float
    max_header_bytes: int
    max_connections: int
    max_connections_per_address: int
    max_body_bytes: int = MAX_LINES_BYTES

    @property
    def max_lingering(self) -> int:
        """How many refused connections are heard out at a time: they hold descriptors beyond those of the cap."""
        return max(1, min(MAX_LINGERING, self.max_connections // 8))

    @property
    def tick_s(self) -> float:
        """How often overdue connections are looked for: four times in the shortest deadline."""
        shortest = min(self.header_wait_s, self.body_wait_s, self.write_wait_s, self.keep_alive_s)
        return max(SHORTEST_TICK_S, min(LONGEST_TICK_S, shortest / 4))


def edge_limits(settings: Settings, *, descriptors: int) -> EdgeLimits:
    """Read the limits; connections leave 128 of the process's descriptors, or half of a few, to everything else."""
    spare = max(descriptors - RESERVED_DESCRIPTORS, descriptors // 2)
    return EdgeLimits(
        header_wait_s=settings.header_wait_s,
        body_wait_s=settings.body_wait_s,
        write_wait_s=settings.write_wait_s,
        keep_alive_s=settings.keep_alive_s,
        max_header_bytes=settings.max_header_bytes,
        max_connections=min(settings.max_connections, spare),
        max_connections_per_address=settings.max_connections_per_address,
    )


def trusted_proxies(settings: Settings) -> TrustedProxies:
    """Read whose word about clients is taken."""
    return TrustedProxies(parse_networks(settings.trusted_proxies), header=settings.forwarded_header)


class Guarded(Protocol):
    """A connection as the sweep sees it."""

    due_s: float
    write_due_s: float

    def expire(self) -> None:
        """End the connection, or give it a new time."""


class Admission:
    """Counts connections by client, and ends those that are overdue in one pass a tick instead of a timer each."""

    def __init__(self, limits: EdgeLimits, proxies: TrustedProxies) -> None:
        """Keep the limits; nothing is connected yet."""
        self.limits = limits
        self.proxies = proxies
        self.now_s = -math.inf
        self.lingering = 0
        self._connections: set[Guarded] = set()
        self._held: Counter[str] = Counter()
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        """How many connections there are, those included that are being refused."""
        return len(self._connections)

    def enter(self, connection: Guarded, loop: asyncio.AbstractEventLoop) -> Refusal | None:
        """Watch a new connection from now on; returns why it is one too many."""
        if self._timer is None:
            self._sweep(loop)
        self._connections.add(connection)
        return SERVER_FULL if len(self._connections) > self.limits.max_connections else None

    def leave(self, connection: Guarded) -> None:
        """Forget a connection that is closed."""
        self._connections.discard(connection)

    def hold(self, client: str) -> bool:
        """Count one connection more of a client; False, and nothing counted, when it has its full share."""
        held = self._held[client] + 1
        if held > self.limits.max_connections_per_address:
            return False
        self._held[client] = held
        return True

    def release(self, client: str) -> None:
        """Count one connection less of a client."""
        held = self._held.pop(client) - 1
        if held:
            self._held[client] = held

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now_s = self.now_s = loop.time()
        overdue = [one for one in self._connections if one.due_s <= now_s or one.write_due_s <= now_s]
        for connection in overdue:
            connection.expire()
        self._timer = loop.call_later(self.limits.tick_s, self._sweep_on, loop)

    def _sweep_on(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._connections:
            self._sweep(loop)


def count(reason: str) -> None:
    """Count a connection that the edge ended."""
    metrics.REFUSED_CONNECTIONS.labels(reason).inc()
