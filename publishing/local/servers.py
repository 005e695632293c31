"""Owns the table of the three servers: how each is started, asked whether it is ready, addressed and stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from publishing.local import kafka, postgres, valkey
from publishing.local.daemons import Daemon
from publishing.local.folders import cache_dir, make_run_dir, number_of
from publishing.local.ports import LOOPBACK, choose_port
from publishing.local.records import locked


@dataclass(frozen=True, slots=True)
class Server:
    """One kind of server."""

    start: Callable[[Path, Path, int], Daemon]
    """Starts it in a run directory with a log and a port; it is not ready yet."""
    is_ready: Callable[[int], bool]
    address: str
    """The address with {port} open."""
    stop_signal: signal.Signals
    stop_grace_s: float
    ready_in_s: float


def _start_kafka(run_dir: Path, log: Path, port: int) -> Daemon:
    cache = make_run_dir(cache_dir())
    with locked(cache):
        kafka.jars(cache)
    controller_port = choose_port("kafka", 0, number_of(run_dir) + 3, frozenset({port}))
    return kafka.start(run_dir / "kafka", log, port=port, controller_port=controller_port, cache=cache)


def _start_postgres(run_dir: Path, log: Path, port: int) -> Daemon:
    return postgres.start(run_dir, log, port=port)


def _start_valkey(run_dir: Path, log: Path, port: int) -> Daemon:
    return valkey.start(run_dir / "valkey", log, port=port)


SERVERS: Final = {
    "kafka": Server(
        _start_kafka, kafka.is_ready, f"{LOOPBACK}:{{port}}", kafka.STOP_SIGNAL, kafka.STOP_GRACE_S, ready_in_s=60.0
    ),
    "database": Server(
        _start_postgres,
        postgres.is_ready,
        f"postgresql://{postgres.ROLE}@{LOOPBACK}:{{port}}/{postgres.DATABASE}",
        postgres.STOP_SIGNAL,
        postgres.STOP_GRACE_S,
        ready_in_s=60.0,
    ),
    "redis": Server(
        _start_valkey,
        valkey.is_ready,
        f"redis://{LOOPBACK}:{{port}}/0",
        valkey.STOP_SIGNAL,
        valkey.STOP_GRACE_S,
        ready_in_s=20.0,
    ),
}
"""By the names of ServiceAddresses' fields."""
