"""Statements, correlation, logs and failpoints: the rules of the small parts of the runtime."""

import json
import logging
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from publishing.runtime import failpoints
from publishing.runtime.clock import monotonic_s, now_ms, utc_now
from publishing.runtime.correlation import (
    CORRELATION,
    accept_traceparent,
    current_traceparent,
    header,
    new_traceparent,
    record_headers,
)
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.settings import Settings
from publishing.runtime.statements import StatementError, load_statements

pytestmark = pytest.mark.unit


def test_statements_are_read_by_name(tmp_path: Path) -> None:
    """Each `-- name:` line starts a statement; the last semicolon is not part of it."""
    (tmp_path / "noun.sql").write_text("-- name: first\nSELECT 1;\n\n-- name: second\nSELECT 2\n", encoding="utf-8")
    found = load_statements(str(tmp_path / "noun.py"))
    assert (found.first, found.second) == ("SELECT 1", "SELECT 2")


@pytest.mark.parametrize("text", ["SELECT 1;", "-- name: a\nSELECT 1;\n-- name: a\nSELECT 2;"])
def test_statements_without_a_name_or_with_one_twice_are_refused(tmp_path: Path, text: str) -> None:
    """A statement that cannot be told apart is an error at import."""
    (tmp_path / "noun.sql").write_text(text, encoding="utf-8")
    with pytest.raises(StatementError):
        load_statements(str(tmp_path / "noun.py"))


def test_a_trace_goes_on_or_starts() -> None:
    """A well-formed traceparent is kept, any other is replaced."""
    given = new_traceparent()
    assert accept_traceparent(given) == given == current_traceparent()
    assert accept_traceparent("00-zz") != "00-zz"
    CORRELATION.set("")
    assert current_traceparent() == current_traceparent()


def test_record_headers_are_the_reserved_ones() -> None:
    """Every record carries the five reserved headers, and they read back."""
    headers = record_headers("Thing", ce_id="7", ce_source="tidewire/x", now=datetime(2026, 1, 2, tzinfo=UTC))
    assert [name for name, _ in headers] == ["traceparent", "ce_id", "ce_type", "ce_source", "ce_time"]
    assert header(headers, "ce_id") == "7"
    assert header(headers, "absent") is None
    assert header([("ce_id", b"\xff")], "ce_id") is None
    assert header(None, "ce_id") is None


def test_logs_are_json_without_addresses_and_tokens(capsys: pytest.CaptureFixture[str]) -> None:
    """The last net: an address or a reader's token in a log line is replaced, also in foreign loggers (S13)."""
    configure_logs(Settings(), "test")
    accept_traceparent("00-" + "a" * 32 + "-" + "b" * 16 + "-01")
    get_logger("x").info("hit.failed", path="/o/" + "A" * 40 + ".gif", to="reader@example.org")
    logging.getLogger("foreign").warning("sent to %s", "reader@example.org")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert lines[0]["to"] == "[address]"
    assert lines[0]["path"] == "/o/[token].gif"
    assert lines[0]["correlation_id"] == "a" * 32
    assert lines[1]["event"] == "sent to [address]"
    configure_logs(Settings(log_format="console"), "test")
    get_logger("y").info("readable")
    assert "readable" in capsys.readouterr().err


def test_an_armed_failpoint_raises_at_its_pass() -> None:
    """The nth pass acts, no other does, and an unarmed point is free."""
    failpoints.arm("here:2:RAISE")
    failpoints.failpoint("there")
    failpoints.failpoint("here")
    with pytest.raises(failpoints.FailpointError):
        failpoints.failpoint("here")
    failpoints.failpoint("here")
    failpoints.arm("")
    failpoints.failpoint("here")


def test_a_failpoint_kills_and_proves_it() -> None:
    """KILL ends the process by SIGKILL after it has printed its proof."""
    code = "from publishing.runtime import failpoints as f; f.arm('p:1:KILL'); f.failpoint('p'); print('alive')"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert ended.stderr == "HIT p\n"
    assert ended.stdout == ""


@pytest.mark.parametrize("specification", ["x", "x:1", "x:one:KILL", "x:1:EXPLODE"])
def test_a_malformed_failpoint_is_refused(specification: str) -> None:
    """A misspelt failpoint is an error, not a test that injects nothing."""
    with pytest.raises(ValueError, match=r"."):
        failpoints.arm(specification)


def test_the_clock_is_aware_and_in_utc() -> None:
    """Times carry their zone; milliseconds and seconds agree with it."""
    assert utc_now().tzinfo is UTC
    assert abs(utc_now().timestamp() * 1000 - now_ms()) < 1000
    assert monotonic_s() <= monotonic_s()
