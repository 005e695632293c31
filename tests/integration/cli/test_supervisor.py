"""The supervisor: it starts what dies again, leaves what a person must mend, and stops everything it started."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from publishing.cli.supervisor import Supervisor, commands_of
from publishing.runtime.clock import monotonic_s
from publishing.runtime.settings import environment

pytestmark = pytest.mark.integration

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


async def eventually(check: Callable[[], object], within_s: float = 10.0) -> None:
    """Wait until a check is true."""
    deadline_s = monotonic_s() + within_s
    while not check():
        assert monotonic_s() < deadline_s, "in vain"
        await asyncio.sleep(0.02)


async def test_a_killed_child_is_started_again(tmp_path: Path) -> None:
    """Kill -9 leads to a new process under the same name, and the restart is counted."""
    supervisor = Supervisor({"sleeper": SLEEPER}, environment(), tmp_path)
    await supervisor.start()
    first = supervisor.kill("sleeper")
    child = supervisor.children["sleeper"]
    await eventually(lambda: child.restarts == 1)
    assert child.exits == [-signal.SIGKILL]
    assert child.process is not None
    assert child.process.pid != first
    second = child.process.pid
    await supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(second, 0)


async def test_wrong_settings_are_not_started_again(tmp_path: Path) -> None:
    """A process that exits with 2 needs a person; its output is in its log."""
    refusing = [sys.executable, "-c", "import sys; sys.stderr.write('TIDEWIRE_X is not set'); sys.exit(2)"]
    supervisor = Supervisor({"refusing": refusing}, environment(), tmp_path)
    await supervisor.start()
    child = supervisor.children["refusing"]
    await eventually(lambda: child.exits == [2])
    await supervisor.stop()
    assert child.restarts == 0
    assert (tmp_path / "refusing.log").read_text() == "TIDEWIRE_X is not set"


async def test_a_child_that_ignores_term_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopping ends in bounded time."""
    monkeypatch.setattr("publishing.cli.supervisor.STOP_GRACE_S", 0.2)
    deaf = [sys.executable, "-c", "import signal,time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"]
    supervisor = Supervisor({"deaf": deaf}, environment() | {"PYTHONUNBUFFERED": "1"}, tmp_path)
    await supervisor.start()
    await eventually(lambda: (tmp_path / "deaf.log").read_text() == "up\n")
    await supervisor.stop()
    process = supervisor.children["deaf"].process
    assert process is not None
    assert process.returncode == -signal.SIGKILL


def test_every_process_has_a_command() -> None:
    """The processes of the architecture and a sink for each kind and lane."""
    commands = commands_of(lanes={"email": ("alert", "bulk")})
    assert set(commands) == {
        "api", "review", "audience", "engagement", "scheduler", "sink-email-alert", "sink-email-bulk",
    }  # fmt: skip
