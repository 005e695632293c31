"""Real servers started from packages: their life in a run directory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
import redis
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from typer.testing import CliRunner

from publishing.cli.main import app
from publishing.local import records, services
from publishing.local.daemons import is_running, unprivileged_account
from publishing.local.deadlines import Deadline
from publishing.local.errors import PortTakenError, StartFailedError
from publishing.local.folders import is_open_to_all
from publishing.local.ports import Ports

# One set serves most tests of this module: they go to one worker.
pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("local-services")]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run directory whose path has a space; nothing runs in it afterwards."""
    path = tmp_path_factory.mktemp("a run")
    yield path
    services.stop(path)


@pytest.fixture
def second_dir(tmp_path: Path) -> Iterator[Path]:
    """Another run directory; nothing runs in it afterwards."""
    yield tmp_path
    services.stop(tmp_path)


@asynccontextmanager
async def admin_of(kafka: str) -> AsyncIterator[AIOKafkaAdminClient]:
    """A client of the broker that is closed whatever happens."""
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        yield admin
    finally:
        await admin.close()


async def test_a_started_set_answers(run_dir: Path) -> None:
    """Kafka makes a topic, PostgreSQL 18 is UTF-8, UTC and durable, Valkey answers."""
    found = services.start(run_dir)
    assert services.addresses(run_dir) == found
    async with admin_of(found.kafka) as admin:
        await admin.create_topics([NewTopic("made", 1, 1)])
    connection = await asyncpg.connect(found.database)
    names = ["server_encoding", "timezone", "fsync", "synchronous_commit", "max_connections"]
    shown = [await connection.fetchval(f"SHOW {name}") for name in names]
    assert shown == ["UTF8", "UTC", "on", "on", "200"]
    assert (await connection.fetchval("SHOW server_version_num")).startswith("18")
    await connection.close()
    with redis.Redis.from_url(found.redis) as client:
        assert client.ping()


def test_a_second_start_changes_nothing(run_dir: Path) -> None:
    """The same servers with the same pids answer at the same addresses."""
    first = services.start(run_dir)
    before = records.read(run_dir)
    assert services.start(run_dir) == first
    assert records.read(run_dir) == before


def test_the_command_prints_the_settings_of_the_set(run_dir: Path) -> None:
    """`services env` prints lines that a shell evaluates, `status` says ready, `up` is done at once."""
    found = services.start(run_dir)
    runner = CliRunner()
    here = ["--run-dir", str(run_dir)]
    assert runner.invoke(app, ["services", "env", *here]).stdout.splitlines() == found.export_lines()
    assert runner.invoke(app, ["services", "status", *here]).exit_code == 0
    assert found.kafka in runner.invoke(app, ["services", "up", *here]).stdout
    assert found.redis in runner.invoke(app, ["services", "up", "--json", *here]).stdout


def test_a_killed_server_is_started_again(run_dir: Path) -> None:
    """After one server died, a start brings back that one and leaves the others."""
    services.start(run_dir)
    before = records.read(run_dir)
    os.kill(before["redis"].pid, signal.SIGKILL)
    deadline = Deadline.after(5.0)
    while is_running(before["redis"].daemon) and not deadline.is_over():
        deadline.pause(0.01)
    assert [service.state for service in services.status(run_dir)] == ["ready", "ready", "stopped"]
    services.start(run_dir)
    after = records.read(run_dir)
    assert after["kafka"] == before["kafka"]
    assert after["database"] == before["database"]
    assert is_running(after["redis"].daemon)


async def test_data_survives_a_stop(run_dir: Path) -> None:
    """After a stop no server runs; after the next start topic, table and key are there."""
    first = services.start(run_dir)
    async with admin_of(first.kafka) as admin:
        await admin.create_topics([NewTopic("kept", 1, 1)])
    connection = await asyncpg.connect(first.database)
    await connection.execute("CREATE TABLE kept (x int)")
    await connection.close()
    with redis.Redis.from_url(first.redis) as client:
        assert client.set("kept", 1)
    before = records.read(run_dir)
    assert sorted(services.stop(run_dir)) == ["database", "kafka", "redis"]
    assert not any(is_running(record.daemon) for record in before.values())
    found = services.start(run_dir)
    async with admin_of(found.kafka) as admin:
        assert "kept" in await admin.list_topics()
    connection = await asyncpg.connect(found.database)
    assert await connection.fetchval("SELECT count(*) FROM kept") == 0
    await connection.close()
    with redis.Redis.from_url(found.redis) as client:
        assert client.get("kept") == b"1"


def test_two_sets_run_side_by_side(run_dir: Path, second_dir: Path) -> None:
    """Stopping one set leaves the other one alone."""
    first = services.start(run_dir)
    second = services.start_here(second_dir, ["redis"])
    assert second["redis"] != first.redis
    assert services.stop(second_dir) == ["redis"]
    assert services.addresses(run_dir) == first


def test_a_taken_port_is_said(run_dir: Path, second_dir: Path) -> None:
    """A port that another set listens on is refused by name, and nothing is left running."""
    taken = int(services.start(run_dir).redis.rpartition(":")[2].partition("/")[0])
    with pytest.raises(PortTakenError, match=f"Port {taken} for redis"):
        services.start(second_dir, ports=Ports(redis=taken))
    assert [service.state for service in services.status(second_dir)] == ["stopped"] * 3


def test_a_server_that_cannot_start_is_said(second_dir: Path) -> None:
    """The error names the log, and the log's last line."""
    (second_dir / "valkey").mkdir()
    (second_dir / "valkey" / "dump.rdb").write_bytes(b"no snapshot")
    with pytest.raises(StartFailedError, match=r"redis did not start \(it ended: .*redis\.log"):
        services.start_here(second_dir, ["redis"])


@pytest.mark.skipif(
    unprivileged_account() is None or not is_open_to_all(Path(sys.executable).resolve().parent),
    reason="needs root to become an ordinary user, and an interpreter that this user can run",
)
def test_an_ordinary_user_starts_a_set(tmp_path: Path) -> None:
    """Every server runs as the user who starts it."""
    account = unprivileged_account()
    assert account is not None
    home = Path("/tmp") / f"tidewire-home-{os.getpid()}"  # noqa: S108  - pytest's folder is closed to other users
    home.mkdir(mode=0o700)
    os.chown(home, account.uid, account.gid)
    for command in ("up", "status", "down"):
        subprocess.run(
            [sys.executable, "-m", "publishing.cli.main", "services", command, "--run-dir", str(home / "run")],
            user=account.uid,
            group=account.gid,
            extra_groups=[],
            env={"HOME": str(home), "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
            timeout=110,
        )
