"""Owns detached servers: started in a session of their own, known by pid and start time, stopped only as themselves."""

from __future__ import annotations

import os
import pwd
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from publishing.local.deadlines import Deadline
from publishing.local.errors import StopFailedError

LAUNCHER: Final = '"$@" >&2 </dev/null & echo $!'
"""The shell starts the server, says its pid and ends: the server belongs to nobody and is never our zombie."""

START_TIME_INDEX: Final = 19
"""Where field 22 (starttime, in clock ticks since boot) stands after the command name: proc_pid_stat(5)."""

KILL_PATIENCE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Daemon:
    """A running server: `started` tells its pid from the same number given to a later program."""

    pid: int
    started: str


@dataclass(frozen=True, slots=True)
class Account:
    """The user and group a server runs as."""

    uid: int
    gid: int


def unprivileged_account() -> Account | None:
    """The account that root hands a server to that refuses root; None for an ordinary user."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_uid, entry.pw_gid)


def start_time_of(pid: int) -> str | None:
    """When the program with this pid began, in the system's own notation; None when it is gone or a zombie."""
    if Path("/proc/self/stat").exists():
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in {"Z", "X"} else fields[START_TIME_INDEX]
    listing = ["/bin/ps", "-o", "stat=,lstart=", "-p", str(pid)]  # macOS has no /proc
    answer = subprocess.run(listing, capture_output=True, text=True, check=False)
    state, _, began = answer.stdout.strip().partition(" ")
    return began.strip() if began and not state.startswith("Z") else None


def is_running(daemon: Daemon) -> bool:
    """Whether the very program is there, not another one with its number."""
    return start_time_of(daemon.pid) == daemon.started


def run_as(command: Sequence[str | Path], *, account: Account | None, log: Path, cwd: Path | None = None) -> str:
    """Run a short program as the account, with its errors appended to `log`; give what it printed.

    Raises subprocess.CalledProcessError when it fails and OSError when it cannot be started.
    """
    with log.open("ab") as errors:
        answer = subprocess.run(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            check=True,
            cwd=cwd,
            start_new_session=True,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    return answer.stdout


def launch(
    command: Sequence[str | Path], *, account: Account | None = None, log: Path, cwd: Path | None = None
) -> Daemon:
    """Start a server that outlives this program, without input, its output appended to `log`."""
    pid = int(run_as(["/bin/sh", "-c", LAUNCHER, "sh", *command], account=account, log=log, cwd=cwd))
    return Daemon(pid, start_time_of(pid) or "")


def stop(service: str, daemon: Daemon, *, first: signal.Signals, grace_s: float) -> None:
    """Ask the server to end by the first signal, kill it after `grace_s` seconds, and return when it is gone.

    Raises StopFailedError when it stays; touches nothing when its pid is another program by now.
    """
    for ask, patience_s in ((first, grace_s), (signal.SIGKILL, KILL_PATIENCE_S)):
        if not is_running(daemon):
            return
        try:
            os.kill(daemon.pid, ask)
        except ProcessLookupError:
            return
        deadline = Deadline.after(patience_s)
        while is_running(daemon) and not deadline.is_over():
            deadline.pause(0.02)
    if is_running(daemon):
        raise StopFailedError(service, daemon.pid)
