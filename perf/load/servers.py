"""Server processes of a bench: started, watched through /proc, stopped."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from publishing.runtime.clock import monotonic_s
from publishing.runtime.settings import environment

START_WAIT_S = 60.0
STOP_WAIT_S = 15.0
TICKS = os.sysconf("SC_CLK_TCK")
OURS = ("-m", "ingest_api.serve")


@dataclass(frozen=True, slots=True)
class Server:
    """A running process and the port that it answers on."""

    process: subprocess.Popen[bytes]
    port: int

    def cpu_s(self) -> float:
        """CPU time that it has used so far, with all its threads, seconds."""
        return cpu_s(self.process.pid)

    def rss_mb(self, *, peak: bool = False) -> float:
        """Resident memory now, or the most it ever was, MB."""
        return resident_kb(self.process.pid, peak=peak) / 1024


def cpu_s(pid: int) -> float:
    """CPU time, user and system, that a process has used so far, s; raises FileNotFoundError for one that ended."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident_kb(pid: int, *, peak: bool = False) -> int:
    """Resident memory of a process now, or the most it ever was, KiB."""
    name = "VmHWM:" if peak else "VmRSS:"
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name))


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def peer_command(application: str, port: int) -> list[str]:
    """Uvicorn, set up as ours is, around an application of perf.load.peers."""
    options = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log", "--log-level", "warning"]
    return ["-m", "uvicorn", f"perf.load.peers:{application}", "--port", str(port), "--backlog", "4096", *options]


@contextmanager
def running(arguments: Sequence[str], variables: Mapping[str, str], port: int, log: Path) -> Iterator[Server]:
    """Start `python ARGUMENTS` and wait until it listens; stop it by SIGTERM at the end."""
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603  - a bench starts what it measures
            [sys.executable, *arguments], env=dict(variables), stdout=out, stderr=out
        )
    try:
        _wait_for(process, port, log)
        yield Server(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline_s = monotonic_s() + START_WAIT_S
    while monotonic_s() < deadline_s:
        if process.poll() is not None:
            sys.exit(f"the server ended at its start; see {log}")
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as asking:
                asking.sendall(b"GET /livez HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
                if asking.recv(12):
                    return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"the server does not listen on {port}; see {log}")


def load(port: int, requests: Path, **options: float) -> dict[str, Any]:
    """Run the load generator in a process of its own; returns what it printed."""
    flags = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "perf.load", str(port), str(requests), *flags]
    done = subprocess.run(command, env=environment(), check=True, capture_output=True)  # noqa: S603  - as above
    summary: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return summary
