"""Owns the choice of loopback ports below the range from which systems take ports of outgoing connections."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from typing import Final

from publishing.local.errors import NoFreePortError, PortTakenError

LOOPBACK: Final = "127.0.0.1"
FIRST_PORT: Final = 15_000
LAST_PORT: Final = 32_000
"""Linux takes outgoing ports from 32,768 up (net.ipv4.ip_local_port_range): nothing takes ours between two starts."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports to listen on; 0 is any free one."""

    kafka: int = 0
    database: int = 0
    redis: int = 0


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def choose_port(service: str, wanted: int, start: int, taken: frozenset[int] = frozenset()) -> int:
    """The wanted port, or for 0 the first free one from `start` (any number) on that is not in `taken`.

    Raises PortTakenError for a wanted port that is in use and NoFreePortError when none is left.
    """
    if wanted:
        if wanted in taken or not is_free(wanted):
            raise PortTakenError(service, wanted)
        return wanted
    span = LAST_PORT - FIRST_PORT
    for step in range(span):
        port = FIRST_PORT + (start + step) % span
        if port not in taken and is_free(port):
            return port
    raise NoFreePortError(FIRST_PORT, LAST_PORT)
