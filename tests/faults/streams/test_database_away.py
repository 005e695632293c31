"""R7 and R8: PostgreSQL is frozen, stopped or slow; consumers wait without haste, readers are told within 2 s."""

import asyncio
import contextlib
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient

from migrations.apply import upgrade
from publishing.cli.replaying.recounting import check
from publishing.cli.token import Role, sign
from publishing.local import records
from publishing.local import services as local
from publishing.runtime.clock import monotonic_s, utc_now
from publishing.runtime.database import open_pool
from publishing.runtime.producer import full_name, open_producer
from publishing.runtime.settings import Settings
from streams.engagement import NAME
from tests.conftest import Services, child_environment, test_settings
from tests.fakes.streams_worker import StreamWorker, eventually, stream_worker
from tests.fakes.tcp_relay import Relay, relay_to
from tests.faults.conftest import Figure
from tests.faults.streams.conftest import Stage
from topics import apply as topics_apply
from topics.catalog import CONTENT_SUBMITTED, ENGAGEMENT_RECORDED

pytestmark = [
    pytest.mark.faults,
    pytest.mark.long,
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("own database"),
]

HERE = Path(__file__).parent
WORKER = ("-m", "streams.engagement")
API = ("-m", "ingest_api.serve")
AWAY_S = 60.0
ASKED_FOR_S = 20.0
READERS = 12
ANSWER_S = 2.0
RECONNECTS_PER_S = 1.0
CALM_SHARE = 0.2
SLOW_S = 2.0
SLOW_FOR_S = 40.0
FLAT_BYTES = 48 << 20


class Database:
    """A PostgreSQL of this module's own, to be frozen and stopped."""

    def __init__(self, run_dir: Path) -> None:
        """Start it."""
        self.run_dir = run_dir
        self.url = local.start_here(run_dir, ["database"])["database"]

    def processes(self) -> list[int]:
        """The postmaster and its children."""
        first = records.read(self.run_dir)["database"].pid
        children = [int(path.name) for path in Path("/proc").glob("[0-9]*") if _parent_of(path) == first]
        return [first, *children]

    @asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """SIGSTOP for every process, the postmaster first so that it makes no new one; each is proven to stand."""
        stopped: list[int] = []
        try:
            for _ in range(2):
                stopped = self.processes()
                for pid in stopped:
                    os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(0.1)
            assert {_state_of(pid) for pid in stopped} == {"T"}
            yield
            assert {_state_of(pid) for pid in stopped} == {"T"}
        finally:
            for pid in reversed(stopped):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)

    @asynccontextmanager
    async def stopped(self) -> AsyncIterator[None]:
        """No server at all, and then one over the same files at the same address."""
        port = records.read(self.run_dir)["database"].port
        await asyncio.to_thread(local.stop, self.run_dir)
        try:
            yield
            assert records.read(self.run_dir) == {}
        finally:
            started = await asyncio.to_thread(local.start_here, self.run_dir, ["database"])
            assert started["database"].split(":")[-1].split("/")[0] == str(port)


def _state_of(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]


def _parent_of(path: Path) -> int | None:
    try:
        return int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return None


def cpu_s(worker: StreamWorker) -> float:
    """CPU seconds that a process has used."""
    fields = Path(f"/proc/{worker.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(worker: StreamWorker) -> int:
    """The resident set of a process."""
    return int(Path(f"/proc/{worker.process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A server of this module's own, migrated."""
    run_dir = tmp_path_factory.mktemp("own-postgres")
    server = Database(run_dir)
    try:
        asyncio.run(upgrade(server.url))
        yield server
    finally:
        local.stop(run_dir)


@dataclass(slots=True)
class Scene:
    """An installation on the module's database, with a relay before it for each process."""

    stage: Stage
    settings: Settings
    database: Database
    stack: AsyncExitStack

    async def start(self, command: tuple[str, ...]) -> tuple[StreamWorker, Relay]:
        """Start a process behind a relay of its own."""
        relay, url = await self.stack.enter_async_context(relay_to(self.database.url))
        variables = child_environment(self.settings) | {"TIDEWIRE_DATABASE_URL": url}
        worker = await self.stack.enter_async_context(stream_worker(command, variables))
        return worker, relay

    async def is_equal(self) -> bool:
        """Whether the tables are what the log says."""
        return (await check(self.settings, self.stage.pool)).is_equal


@pytest.fixture
async def scene(services: Services, database: Database, topic_prefix: str) -> AsyncIterator[Scene]:
    """A stage on the module's database; its tables are emptied for each test."""
    settings = test_settings(services, database.url, topic_prefix)
    await topics_apply.apply(
        settings.kafka,
        prefix=topic_prefix,
        shards=settings.audience_shards,
        topics=[ENGAGEMENT_RECORDED, ENGAGEMENT_RECORDED.dlq, CONTENT_SUBMITTED, CONTENT_SUBMITTED.dlq],
    )
    async with (
        await open_pool(settings, process="test", max_size=2) as pool,
        open_producer(settings) as producer,
        AsyncExitStack() as stack,
    ):
        await pool.execute(
            "TRUNCATE stream_offsets, publishing_watermarks, publishing_analytics, publishing_engaged,"
            " publishing_event_ids"
        )
        stage = Stage(settings, pool, producer, child_environment(settings))
        yield Scene(stage, settings, database, stack)


def reader(port: int, settings: Settings) -> httpx.AsyncClient:
    """A reader of the API; it waits for twice as long as an answer may take."""
    token = sign(settings, role=Role.READER, subject="tests", ttl_s=600, now=utc_now())
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {token}"}, timeout=2 * ANSWER_S
    )


async def asked(client: httpx.AsyncClient) -> tuple[int, float]:
    """The status of a read of the API, and how long it took in seconds; 0 when the reader has given up."""
    started_s = monotonic_s()
    try:
        status = (await client.get("/api/v1/publishing/channels")).status_code
    except httpx.TimeoutException:
        status = 0
    return status, monotonic_s() - started_s


async def listening(api: StreamWorker) -> int:
    """The API's port."""
    return int(json.loads(await api.wrote("api.listening"))["port"])


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_without_a_database_consumers_wait(scene: Scene, how: str, figure: Figure) -> None:
    """For a minute no record is acknowledged, nothing loops, at most a reconnect a second; afterwards all is exact."""
    worker, relay = await scene.start(WORKER)
    await scene.stage.produce_frames(5)
    await scene.stage.drained()
    applied = await scene.stage.offsets()
    async with getattr(scene.database, how)():
        await scene.stage.produce_frames(10)
        started_s, used_s, opened = monotonic_s(), cpu_s(worker), relay.connections
        await asyncio.sleep(AWAY_S)
        away_s = monotonic_s() - started_s
        share, reconnects = (cpu_s(worker) - used_s) / away_s, relay.connections - opened
        assert worker.process.returncode is None
        assert any("batch." in line and "Error" in line for line in worker.lines)
        assert share <= CALM_SHARE
        assert 1 <= reconnects <= RECONNECTS_PER_S * away_s
        assert await acknowledged(scene.settings) <= applied
    back_s = monotonic_s()
    await scene.stage.drained()
    back_s = monotonic_s() - back_s
    assert await scene.is_equal()
    figure(
        f"{how} for {away_s:.0f} s: {share:.1%} of a core, {reconnects / away_s:.2f} reconnects/s,"
        f" all applied {back_s:.1f} s after it was back, recount equal"
    )


def group_of(settings: Settings) -> str:
    """The worker's consumer group."""
    return f"{settings.topic_prefix}tidewire-{NAME}"


async def acknowledged(settings: Settings) -> int:
    """The sum of the offsets that the group has committed to the brokers: a measure of lag, never ahead of the rows."""
    name = full_name(settings, ENGAGEMENT_RECORDED)
    group = group_of(settings)
    async with AIOKafkaConsumer(bootstrap_servers=settings.kafka, group_id=group, enable_auto_commit=False) as consumer:
        places = [TopicPartition(name, number) for number in range(settings.audience_shards)]
        consumer.assign(places)
        return sum([await consumer.committed(place) or 0 for place in places])


async def until_it_reads(client: httpx.AsyncClient) -> None:
    """Wait until the API answers a read."""

    async def is_answered() -> bool:
        try:
            return (await asked(client))[0] == 200
        except httpx.ConnectError:
            return False

    await eventually(is_answered, what="the API reads")


async def asked_meanwhile(client: httpx.AsyncClient) -> list[tuple[int, float]]:
    """The answers to twelve readers at once, every few seconds for a while."""
    answers: list[tuple[int, float]] = []
    started_s = monotonic_s()
    while monotonic_s() - started_s < ASKED_FOR_S:
        answers += await asyncio.gather(*(asked(client) for _ in range(READERS)))
        await asyncio.sleep(1.0)
    return answers


def check_told(answers: list[tuple[int, float]]) -> None:
    """Every reader was answered 503, and in time."""
    assert {status for status, _ in answers} == {503}, answers
    assert max(seconds for _, seconds in answers) <= ANSWER_S


@pytest.mark.parametrize("how", ["frozen", "stopped"])
async def test_without_a_database_readers_are_told(scene: Scene, how: str, figure: Figure) -> None:
    """Every read is answered 503 within 2 s, with a reconnect a second at most, and reads again when it is back."""
    api, relay = await scene.start(API)
    client = await scene.stack.enter_async_context(reader(await listening(api), scene.settings))
    await until_it_reads(client)
    async with getattr(scene.database, how)():
        started_s, opened = monotonic_s(), relay.connections
        answers = await asked_meanwhile(client)
        rate = (relay.connections - opened) / (monotonic_s() - started_s)
    check_told(answers)
    assert 0 < rate <= RECONNECTS_PER_S
    back_s = monotonic_s()
    await until_it_reads(client)
    figure(
        f"{how}: {len(answers)} reads, all 503, the slowest in {max(seconds for _, seconds in answers):.2f} s,"
        f" {rate:.2f} reconnects/s, read again after {monotonic_s() - back_s:.1f} s"
    )


async def test_the_mutant_without_limits_lets_readers_hang(scene: Scene) -> None:
    """An API that waits for a frozen database as long as it takes fails the same check: the two seconds have teeth."""
    api, _ = await scene.start((str(HERE / "mutant_api.py"),))
    client = await scene.stack.enter_async_context(reader(await listening(api), scene.settings))
    await until_it_reads(client)
    async with scene.database.frozen():
        answers = [await asked(client)]
    with pytest.raises(AssertionError):
        check_told(answers)


def check_kept(worker: StreamWorker) -> None:
    """The worker was given its partitions once, and kept them."""
    assert sum("partitions.sought" in line for line in worker.lines) == 1


async def group_state(settings: Settings) -> str:
    """What the brokers say of the worker's group: Stable with a member, Empty when its heartbeats were missed."""
    admin = AIOKafkaAdminClient(bootstrap_servers=settings.kafka)
    await admin.start()
    try:
        (answer,) = await admin.describe_consumer_groups([group_of(settings)])
    finally:
        await admin.close()
    (_, _, state, *_), *_ = answer.groups
    return str(state)


async def flooded(scene: Scene, seconds: float, seen: Callable[[], Awaitable[None]]) -> None:
    """Append 200-event frames for some seconds, more than a slow database takes, and look every second."""
    frames = [scene.stage.frame(200, shard=shard) for shard in range(scene.settings.audience_shards)]
    started_s = monotonic_s()
    while monotonic_s() - started_s < seconds:
        for shard, frame in enumerate(frames):
            await scene.stage.produce([frame] * 20, partition=shard)
        await seen()
        await asyncio.sleep(1.0)


async def test_a_slow_database_pushes_back(scene: Scene, figure: Figure) -> None:
    """With 2 s on each answer memory stays flat, the group keeps its member, and what was counted is exact."""
    worker, relay = await scene.start(WORKER)
    await scene.stage.produce_frames(5)
    await scene.stage.drained()
    relay.delay_s = SLOW_S
    sizes: list[int] = []

    async def look() -> None:
        sizes.append(resident_bytes(worker))

    await flooded(scene, SLOW_FOR_S, look)
    waiting = scene.stage.produced - await scene.stage.offsets()
    assert waiting > 0
    assert await group_state(scene.settings) == "Stable"
    check_kept(worker)
    growth = max(sizes) - sizes[len(sizes) // 4]
    assert growth <= FLAT_BYTES
    relay.delay_s = 0.0
    await scene.stage.drained()
    assert await scene.is_equal()
    check_kept(worker)
    figure(
        f"2 s on each answer for {SLOW_FOR_S:.0f} s: {waiting} of {scene.stage.produced} frames wait in the broker,"
        f" memory {max(sizes) >> 20} MB, grown by {growth / (1 << 20):.1f} MB, no rebalance, recount equal"
    )


async def test_the_mutant_that_flushes_in_the_poll_loop_is_thrown_out(scene: Scene) -> None:
    """A poll loop that stands still while it writes misses its heartbeats, and the group goes on without it."""
    worker, relay = await scene.start((str(HERE / "mutant_flush.py"),))
    await scene.stage.produce_frames(5)
    await scene.stage.drained()
    check_kept(worker)
    relay.delay_s = SLOW_S
    await scene.stage.produce_frames(20)

    async def is_thrown_out() -> bool:
        return await group_state(scene.settings) == "Empty"

    await eventually(is_thrown_out, what="the brokers miss the worker's heartbeats")
    relay.delay_s = 0.0
    await worker.wrote("partitions.sought", times=2)
    with pytest.raises(AssertionError):
        check_kept(worker)
