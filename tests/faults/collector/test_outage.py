"""R6: the broker is away for a minute: the spool answers up to its cap, then nobody is promised anything."""

import asyncio
import dataclasses
import os
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from publishing.domain.links import Purpose
from publishing.local import kafka
from publishing.local.daemons import Daemon, is_running, stop
from publishing.local.folders import cache_dir
from publishing.local.ports import choose_port
from publishing.runtime.clock import now_ms
from publishing.runtime.settings import Settings
from tests.conftest import child_environment
from tests.faults.collector.conftest import MUTANT, NO_BROKER, Answers, Stage, lost, twice, until
from tests.faults.conftest import Figure
from topics import apply as topics_apply
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(400)]

OUTAGE_S = 60.0
# Some 200 bytes a frame, and some 100 frames a second: full before the outage ends.
CAP_BYTES = 262_144
READY_WAIT_S = 90.0


class Broker:
    """A broker of this test's own, which can be stopped and started again on its data."""

    def __init__(self, folder: Path) -> None:
        """Choose its ports."""
        self._folder = folder
        self.port = choose_port("kafka", 0, now_ms())
        self._controller_port = choose_port("controller", 0, now_ms() + 1)
        self.daemon: Daemon | None = None

    async def start(self) -> None:
        """Start it and wait until it answers."""
        log = self._folder / "broker.log"
        self.daemon = await asyncio.to_thread(
            kafka.start,
            self._folder / "broker",
            log,
            port=self.port,
            controller_port=self._controller_port,
            cache=cache_dir(),
        )

        async def is_ready() -> bool:
            return await asyncio.to_thread(kafka.is_ready, self.port)

        await until(is_ready, READY_WAIT_S)

    async def stop(self) -> None:
        """Stop it, and prove that it is gone."""
        assert self.daemon is not None
        await asyncio.to_thread(stop, "kafka", self.daemon, first=signal.SIGTERM, grace_s=15.0)
        assert not is_running(self.daemon)


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    """A broker that runs."""
    one = Broker(tmp_path)
    await one.start()
    yield one
    await one.stop()


@pytest.fixture
async def outage(settings: Settings, broker: Broker, tmp_path: Path) -> Stage:
    """An installation on that broker."""
    own = settings.model_copy(update={"kafka_bootstrap_servers": f"127.0.0.1:{broker.port}"})
    await topics_apply.apply(
        own.kafka, prefix=own.topic_prefix, shards=own.audience_shards, topics=[ENGAGEMENT_RECORDED]
    )
    return Stage(own, child_environment(own), tmp_path)


async def load(stage: Stage, answers: Answers, seconds: float) -> None:
    """Readers for a while: four of them, of one shard each, so that the order of answers is that of the shard."""
    stop_now = asyncio.Event()
    crowd = asyncio.create_task(stage.crowd(answers, stop_now, readers=stage.settings.audience_shards, pause_s=0.02))
    await asyncio.sleep(seconds)
    stop_now.set()
    await crowd


def out_of_order(counted: list[int], shards: int) -> list[int]:
    """The numbers that stand behind a larger one of their shard: readers counted upwards."""
    wrong, highest = [], dict.fromkeys(range(shards), 0)
    for number in counted:
        shard = number % shards
        if number < highest[shard]:
            wrong.append(number)
        highest[shard] = max(highest[shard], number)
    return wrong


async def test_a_minute_without_the_broker(outage: Stage, broker: Broker, figure: Figure) -> None:
    """Answers from the spool, 503 with Retry-After at the cap, pixels always; then all is sent, in order, once."""
    stage = outage
    with stage.collector(TIDEWIRE_SPOOL_MAX_BYTES=str(CAP_BYTES)):
        before, during, after = Answers(), Answers(), Answers()
        await load(stage, before, 2)
        assert set(before.statuses.values()) == {200}
        await broker.stop()
        started_s = time.monotonic()
        loading = asyncio.create_task(load(stage, during, OUTAGE_S))
        async with httpx.AsyncClient(base_url=stage.url, timeout=5) as client:
            await asyncio.sleep(5)
            assert during.numbers()
            assert (await client.get("/readyz")).json()["services"]["spool"] == "ok"
            assert (await client.get("/readyz")).status_code == httpx.codes.OK
            await asyncio.sleep(OUTAGE_S - 8)
            assert during.numbers(503), "the cap was not reached"
            pixel = await client.get(stage.path(900_000_001, Purpose.OPEN))
            assert (pixel.status_code, pixel.headers["content-type"]) == (200, "image/gif")
            assert await stage.metric('tidewire_hits_total{kind="opened",outcome="dropped"}') == 1
            health = (await client.get("/health")).json()
            assert health["services"]["spool"] != "ok"
        await loading
        assert set(during.statuses.values()) == {200, 503}
        assert during.retry_after == {"5"}
        assert during.slowest_s < 3
        on_disk = stage.bytes_on_disk()
        assert 0 < on_disk <= CAP_BYTES
        frames = await stage.metric("tidewire_spool_frames ")
        await broker.start()
        outage_s = time.monotonic() - started_s
        loading = asyncio.create_task(load(stage, after, 2))
        drained_s = await until(stage.is_drained, 2 * outage_s)
        await loading
        await load(stage, after, 1)
        assert after.numbers()
        assert await stage.metric("tidewire_collector_breaker_state ") == 0
    counted = await stage.counted()
    everyone = dataclasses.replace(before, statuses=before.statuses | during.statuses | after.statuses)
    assert (lost(everyone, counted), twice(counted)) == (set(), set())
    assert out_of_order(counted, stage.settings.audience_shards) == []
    figure(
        f"{outage_s:.0f} s without the broker: {len(during.numbers())} hits answered from the spool, then "
        f"{len(during.numbers(503))} with 503; {frames:.0f} frames of {on_disk:,} bytes drained in {drained_s:.1f} s, "
        f"{drained_s / outage_s:.2f} of the outage; slowest answer {during.slowest_s:.2f} s"
    )


async def test_frozen_broker(outage: Stage, broker: Broker) -> None:
    """What a broker takes and freezes over is in its log once when it goes on, also when the collector has crashed."""
    stage = outage
    assert broker.daemon is not None
    for kills in (False, True):
        answers = Answers()
        with stage.collector() as process:
            await load(stage, answers, 1)
            os.kill(broker.daemon.pid, signal.SIGSTOP)
            await load(stage, answers, 3)
            if kills:
                process.kill()
                process.wait()
            os.kill(broker.daemon.pid, signal.SIGCONT)
            if not kills:
                await until(stage.is_drained, 40)
        with stage.collector():
            await until(stage.is_drained, 40)
        counted = await stage.counted()
        assert (lost(answers, counted), twice(counted)) == (set(), set())


async def test_mutant_holds_in_memory(stage: Stage) -> None:
    """A buffer in memory knows no cap, and loses what it promised with its process, in the same checks."""
    answers = Answers()
    with stage.collector(
        MUTANT, "remember", TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS=NO_BROKER, TIDEWIRE_SPOOL_MAX_BYTES="65536"
    ):
        await load(stage, answers, 4)
    assert not answers.numbers(503)
    assert lost(answers, await stage.counted())
