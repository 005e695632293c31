"""What `tidewire` says and how it ends, without any service."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from publishing.cli.failures import (
    FAILED,
    WRONG_USAGE,
    CommandError,
    NotInstalledError,
    UnknownTopicError,
    UnreachableError,
    exit_code_of,
)
from publishing.cli.main import app
from publishing.cli.run import PROCESSES, entry_of
from publishing.runtime.settings import PREFIX, Settings

pytestmark = pytest.mark.unit

NOWHERE = "127.0.0.1:1"
"""A port on which nothing listens."""


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting and no cache of the machine reaches a test."""
    for field in Settings.model_fields:
        monkeypatch.delenv(PREFIX + field.upper(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TERM", "dumb")


COMMANDS = [
    [],
    ["services"],
    *(["services", name] for name in ("up", "down", "status", "env")),
    ["migrate"],
    *(["migrate", name] for name in ("up", "status", "check")),
    ["topics"],
    *(["topics", name] for name in ("plan", "apply")),
    ["run"],
    *(["run", name] for name in (*PROCESSES, "sink", "all")),
    ["token"],
    ["dlq"],
    *(["dlq", name] for name in ("list", "show", "redrive")),
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_explains_itself(command: list[str]) -> None:
    """--help ends with 0 and names the usage."""
    answer = CliRunner().invoke(app, [*command, "--help"])
    assert answer.exit_code == 0
    assert "Usage: " in answer.output


@pytest.mark.parametrize(
    "command",
    [
        ["migrate", "up"],
        ["migrate", "status"],
        ["migrate", "check"],
        ["topics", "plan"],
        ["topics", "apply"],
        ["dlq", "list"],
        ["dlq", "show", "content.ready.v1"],
        ["dlq", "redrive", "content.ready.v1"],
        ["token", "--role", "reader"],
    ],
    ids=" ".join,
)
def test_a_missing_setting_is_named(command: list[str]) -> None:
    """Without settings a command ends with 2 and names the variable, one a line."""
    answer = CliRunner().invoke(app, command)
    assert answer.exit_code == WRONG_USAGE
    assert all(line.startswith("tidewire: TIDEWIRE_") for line in answer.stderr.splitlines())


@pytest.mark.parametrize(
    "command",
    [
        ["frobnicate"],
        ["services", "up", "--frobnicate"],
        ["services", "up", "--kafka-port", "70000"],
        ["run", "sink"],
        ["run", "sink", "--kind", "fax"],
        ["run", "sink", "--kind", "email", "--lane", "slow"],
        ["token", "--role", "emperor"],
        ["token", "--role", "reader", "--ttl", "0"],
        ["dlq", "show"],
        ["services"],
    ],
    ids=" ".join,
)
def test_wrong_usage_ends_with_two(command: list[str]) -> None:
    """What cannot be meant is refused before anything is done."""
    assert CliRunner().invoke(app, command).exit_code == WRONG_USAGE


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_an_absent_broker_is_one_line(monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """A broker that does not answer ends the command with 1 and names the variable."""
    monkeypatch.setenv("TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    answer = CliRunner().invoke(app, ["topics", command])
    assert answer.exit_code == FAILED
    assert "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_an_absent_database_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A database that does not answer ends the command with 1 and names the variable."""
    monkeypatch.setenv("TIDEWIRE_DATABASE_URL", f"postgresql://tidewire@{NOWHERE}/tidewire")
    answer = CliRunner().invoke(app, ["migrate", "status"])
    assert answer.exit_code == FAILED
    assert "TIDEWIRE_DATABASE_URL" in answer.stderr
    assert len(answer.stderr.splitlines()) == 1


def test_an_unknown_topic_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A topic that the catalogue does not have is refused by its name."""
    monkeypatch.setenv("TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS", NOWHERE)
    answer = CliRunner().invoke(app, ["dlq", "show", "nope.v1"])
    assert answer.exit_code == WRONG_USAGE
    assert answer.stderr == "tidewire: No topic is called nope.v1: `tidewire topics plan` lists them.\n"


def test_services_that_do_not_run_have_a_status(tmp_path: Path) -> None:
    """Status ends with 1 and says so for a program too; there is no environment to print; down has nothing to do."""
    runner = CliRunner()
    here = ["--run-dir", str(tmp_path)]
    answer = runner.invoke(app, ["services", "status", "--json", *here])
    assert answer.exit_code == FAILED
    assert {service["state"] for service in json.loads(answer.stdout)} == {"stopped"}
    assert runner.invoke(app, ["services", "status", *here]).exit_code == FAILED
    assert runner.invoke(app, ["services", "env", *here]).exit_code == FAILED
    assert json.loads(runner.invoke(app, ["services", "down", "--json", *here]).stdout) == {"stopped": []}
    assert runner.invoke(app, ["services", "down"]).stdout == "nothing was running\n"


def test_a_run_directory_that_cannot_be_is_wrong_usage(tmp_path: Path) -> None:
    """A file in the place of the directory is said in one line."""
    (tmp_path / "file").touch()
    answer = CliRunner().invoke(app, ["services", "up", "--run-dir", str(tmp_path / "file")])
    assert answer.exit_code == WRONG_USAGE
    assert len(answer.stderr.splitlines()) == 1


def test_a_process_that_is_not_installed_is_said() -> None:
    """The missing module is named instead of a traceback."""
    with pytest.raises(NotInstalledError, match="no module absent_process"):
        entry_of("absent_process.main")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("Kafka", "refused", "TIDEWIRE_X"), FAILED),
        (UnknownTopicError("x"), WRONG_USAGE),
        (NotInstalledError("x", "y"), FAILED),
        (CommandError(), FAILED),
        (ZeroDivisionError(), None),
    ],
)
def test_errors_end_with_their_number(error: Exception, code: int | None) -> None:
    """An expected error has an exit code; a fault of the program has none and keeps its traceback."""
    assert exit_code_of(error) == code
