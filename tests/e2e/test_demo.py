"""The demo itself: kill -9 of every kind of process on the way, and every comparison still holds."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from publishing.local.addresses import VARIABLES
from publishing.runtime.settings import environment
from tests.conftest import Services

# One demo serves all tests of this module: they go to one worker.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(420), pytest.mark.xdist_group("demo")]

SUBSCRIBERS = 400


@pytest.fixture(scope="module")
def hostile_demo(services: Services, tmp_path_factory: pytest.TempPathFactory) -> tuple[int, str, dict[str, Any]]:
    """One demo in which every process is killed once: exit code, output, summary."""
    folder: Path = tmp_path_factory.mktemp("a demo")
    addresses = {VARIABLES[name]: getattr(services, name) for name in VARIABLES}
    command = [sys.executable, "-m", "publishing.cli.main", "demo", "--kill", "--subscribers", str(SUBSCRIBERS)]
    ended = subprocess.run(
        command, cwd=folder, env=environment() | addresses, capture_output=True, text=True, timeout=400, check=False
    )
    summary = folder / "build" / "demo" / "summary.json"
    assert summary.exists(), ended.stdout + ended.stderr
    return ended.returncode, ended.stdout, json.loads(summary.read_text(encoding="utf-8"))


def test_every_process_was_killed_and_came_back(hostile_demo: tuple[int, str, dict[str, Any]]) -> None:
    """The faults landed: each process was started again, and the output names the kill."""
    _, printed, summary = hostile_demo
    assert len(summary["restarts"]) == 10
    assert all(count >= 1 for count in summary["restarts"].values()), summary["restarts"]
    assert printed.count(f"kill -{signal.SIGKILL.value} ") == 10


def test_nothing_was_lost_or_counted_twice(hostile_demo: tuple[int, str, dict[str, Any]]) -> None:
    """Conservation, provider logs, alert policy, recount and the readers' own log agree, and the demo exits 0."""
    code, printed, summary = hostile_demo
    assert (code, summary["ok"]) == (0, True), printed
    assert all(check["holds"] for check in summary["checks"].values())
    assert summary["conservation"]["holds"]
    assert summary["recount"]["equal"]
    assert summary["provider_log"]["equal"]
    assert summary["dlq"] == {}


def test_every_subscriber_is_accounted_for(hostile_demo: tuple[int, str, dict[str, Any]]) -> None:
    """Mails accepted and mails in doubt are together the subscribers."""
    *_, summary = hostile_demo
    in_doubt = [key for key in summary["in_doubt"] if key[0] == "email"]
    assert summary["deliveries"]["email"]["accepted"] + len(in_doubt) == SUBSCRIBERS
