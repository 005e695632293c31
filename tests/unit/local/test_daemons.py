"""What tells one server from another program with its pid, and how it is ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from publishing.local.daemons import Daemon, is_running, launch, start_time_of, stop, unprivileged_account
from publishing.local.deadlines import Deadline

pytestmark = pytest.mark.unit


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Daemon]:
    """A program that sleeps for a minute unless it is ended."""
    daemon = launch(["/bin/sleep", "60"], log=tmp_path / "log")
    yield daemon
    stop("sleeper", daemon, first=signal.SIGKILL, grace_s=5.0)


def test_a_launched_program_runs_in_a_session_of_its_own(sleeper: Daemon) -> None:
    """The end of the launching program's session does not reach it."""
    assert is_running(sleeper)
    assert os.getsid(sleeper.pid) != os.getsid(0)


def test_the_start_time_of_a_program_never_changes(sleeper: Daemon) -> None:
    """Asked twice, the system gives the same start time."""
    assert start_time_of(sleeper.pid) == start_time_of(sleeper.pid) == sleeper.started


def test_a_recycled_pid_is_not_the_server(sleeper: Daemon) -> None:
    """The same pid with another start time is another program."""
    assert not is_running(Daemon(sleeper.pid, "1"))


def test_a_recycled_pid_is_never_killed(sleeper: Daemon) -> None:
    """Stopping a server whose pid went to another program leaves that one alone."""
    stop("server", Daemon(sleeper.pid, "1"), first=signal.SIGKILL, grace_s=0.1)
    assert is_running(sleeper)


def test_stopping_waits_until_the_server_is_gone(sleeper: Daemon) -> None:
    """After stop there is no such program."""
    stop("server", sleeper, first=signal.SIGTERM, grace_s=5.0)
    assert start_time_of(sleeper.pid) is None


def test_a_server_that_ignores_the_signal_is_killed(tmp_path: Path) -> None:
    """After its grace a deaf server gets SIGKILL."""
    ready = tmp_path / "ready"
    script = f"trap '' TERM; : >'{ready}'; while :; do sleep 0.2; done"
    daemon = launch(["/bin/sh", "-c", script], log=tmp_path / "log")
    deadline = Deadline.after(5.0)
    while not ready.exists() and not deadline.is_over():
        deadline.pause(0.01)
    stop("server", daemon, first=signal.SIGTERM, grace_s=0.2)
    assert not is_running(daemon)


def test_output_of_a_program_goes_to_its_log(tmp_path: Path) -> None:
    """Both of its streams are appended to the log, and a program that cannot start says so there."""
    daemon = launch([tmp_path / "absent"], log=tmp_path / "log")
    deadline = Deadline.after(5.0)
    while is_running(daemon) and not deadline.is_over():
        deadline.pause(0.01)
    assert "absent" in (tmp_path / "log").read_text()


def test_nobody_runs_under_a_pid_that_is_free() -> None:
    """A pid above the system's limit has no start time."""
    assert start_time_of(2**22 + 1) is None


def test_only_root_hands_servers_to_another_account() -> None:
    """An ordinary user has no account to hand a server to; root always has one."""
    assert (unprivileged_account() is None) == (os.geteuid() != 0)
