"""The commands against real services, as an operator runs them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from publishing.cli.main import app
from publishing.runtime.settings import PREFIX, Settings

pytestmark = pytest.mark.integration

Tidewire = Callable[..., Result]


@pytest.fixture
def tidewire(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Tidewire:
    """Run `tidewire` with this test's settings, and give what it printed and how it ended."""
    for field in ("kafka_bootstrap_servers", "database_url", "redis_url", "topic_prefix", "audience_shards"):
        monkeypatch.setenv(PREFIX + field.upper(), str(getattr(settings, field)))
    return lambda *arguments: CliRunner().invoke(app, arguments)


def test_migrations_are_applied_once(tidewire: Tidewire) -> None:
    """On a migrated database `up` changes nothing, and status and check agree."""
    for command in ("up", "status", "check"):
        answer = tidewire("migrate", command, "--json")
        assert (answer.exit_code, answer.stderr) == (0, "")
        assert json.loads(answer.stdout)["pending"] == []
    assert tidewire("migrate", "status").stdout.startswith("database 0")


async def test_an_empty_database_is_behind(tidewire: Tidewire, pool: asyncpg.Pool) -> None:
    """`check` fails on a database without a revision, and names the pending ones."""
    await pool.execute("DELETE FROM alembic_version")
    answer = await asyncio.to_thread(tidewire, "migrate", "check")
    assert answer.exit_code == 1
    assert "database empty" in answer.stdout
    assert "pending  0001" in answer.stdout
    assert (await asyncio.to_thread(tidewire, "conservation", "1")).exit_code == 1


def test_topics_are_planned_then_made(tidewire: Tidewire, settings: Settings) -> None:
    """The plan names every topic under the prefix; after `apply` there is nothing to change."""
    planned = json.loads(tidewire("topics", "plan", "--json").stdout)
    assert planned
    assert all(change["name"].startswith(settings.topic_prefix) for change in planned)
    made = tidewire("topics", "apply")
    assert (made.exit_code, len(made.stdout.splitlines())) == (0, len(planned))
    assert tidewire("topics", "plan").stdout == "nothing to change\n"
    assert tidewire("dlq", "list").stdout == "nothing is buried\n"
    assert json.loads(tidewire("dlq", "redrive", "content.ready.v1.dlq", "--json").stdout) == {"sent": 0}
    assert tidewire("dlq", "show", "content.ready.v1").stdout == ""


def test_a_run_that_is_not_there_fails(tidewire: Tidewire) -> None:
    """The conservation of an unknown run is one line and exit 1."""
    answer = tidewire("conservation", "4711")
    assert answer.exit_code == 1
    assert answer.stderr.startswith("tidewire: No run has the number 4711")
