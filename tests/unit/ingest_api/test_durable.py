"""Broker first, spool second: what is answered is somewhere for good, once, and in the order of its shard."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from ingest_api.breaker import BreakerState
from ingest_api.collector import NotDurableError
from ingest_api.durable import BrokerFirst
from ingest_api.spool import Spool
from tests.fakes.brokers import FakeBroker

pytestmark = pytest.mark.unit

WAIT_S = 0.1


def now_ms() -> int:
    """A time that stands still."""
    return 1_770_000_000_000


async def until(reached: Callable[[], bool]) -> None:
    """Wait for something, at most 10 s."""
    async with asyncio.timeout(10):
        while not reached():  # noqa: ASYNC110  - the fake has no event for every state
            await asyncio.sleep(0.005)


@pytest.fixture
def broker() -> FakeBroker:
    """A broker that answers."""
    return FakeBroker()


@pytest.fixture
async def spool(tmp_path: Path) -> AsyncIterator[Spool]:
    """An open spool of 64 KiB."""
    one = Spool(tmp_path / "spool", max_bytes=65_536, clock_ms=now_ms)
    await one.open()
    yield one
    await one.close()


@pytest.fixture
async def durable(broker: FakeBroker, spool: Spool) -> AsyncIterator[BrokerFirst]:
    """A durable that waits a tenth of a second for its broker."""
    one = BrokerFirst(broker, spool, clock_ms=now_ms, wait_s=WAIT_S)
    one.start()
    yield one
    await one.close()


def payloads(broker: FakeBroker, shard: int | None = None) -> list[bytes]:
    """What the log holds, of one shard or of all."""
    return [one.frame for one in broker.log if shard is None or one.shard == shard]


async def test_a_broker_that_answers_is_enough(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """With its broker there a frame touches no disk, and says nothing of repeats."""
    await durable.keep(1, b"a")
    assert (payloads(broker), broker.repeats, spool.bytes_used) == ([b"a"], [False], 0)


async def test_accepted_then_late_is_sent_once(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """A frame that the broker took but acknowledged too late is answered from the spool, and not sent again."""
    broker.is_away = True
    await durable.keep(1, b"late")
    assert (payloads(broker), spool.frames, durable.breaker.state) == ([b"late"], 1, BreakerState.OPEN)
    await durable.keep(1, b"behind")
    broker.come_back()
    await until(lambda: spool.frames == 0)
    assert payloads(broker) == [b"late", b"behind"]
    assert broker.repeats == [False, True]
    assert spool.bytes_used == 0


async def test_an_open_breaker_answers_at_once(broker: FakeBroker, durable: BrokerFirst) -> None:
    """Once the broker has not answered, frames go to the spool without waiting for it."""
    broker.is_away = True
    await durable.keep(1, b"first")
    started_s = asyncio.get_running_loop().time()
    await asyncio.gather(*(durable.keep(2, b"%d" % number) for number in range(20)))
    assert asyncio.get_running_loop().time() - started_s < WAIT_S
    broker.come_back()


async def test_order_of_a_shard(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """However the broker comes and goes, the frames of a shard are in the log in the order in which they came."""
    keeping = []
    for number in range(300):
        if number % 60 == 20:
            broker.is_away, broker.takes_while_away = True, number % 120 == 20
        if number % 60 == 50:
            broker.come_back()
        keeping.append(asyncio.create_task(durable.keep(number % 3, b"%03d" % number)))
        await asyncio.sleep(0.008)
    broker.come_back()
    await asyncio.gather(*keeping)
    await until(lambda: spool.frames == 0)
    for shard in range(3):
        assert payloads(broker, shard) == [b"%03d" % number for number in range(shard, 300, 3)]
    assert True in broker.repeats
    assert False in broker.repeats


async def test_a_shard_leaves_the_spool_under_load(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """With the broker back, frames go to it directly again although they never cease to come."""
    broker.is_away = True
    await durable.keep(1, b"first")
    await asyncio.gather(*(durable.keep(1, b"%d" % number) for number in range(50)))
    broker.come_back()
    async with asyncio.timeout(5):
        while broker.repeats[-1] or spool.frames:
            await asyncio.gather(*(durable.keep(1, b"more") for _ in range(3)))
    assert durable.breaker.state is BreakerState.CLOSED


async def test_a_restart_asks_the_log(broker: FakeBroker, tmp_path: Path) -> None:
    """After a crash a frame that the broker may have got is looked for in the log, and sent only if it is not there."""
    folder = tmp_path / "spool"
    first = Spool(folder, max_bytes=65_536, clock_ms=now_ms)
    await first.open()
    crashing = BrokerFirst(broker, first, clock_ms=now_ms, wait_s=WAIT_S)
    broker.is_away = True
    await crashing.keep(1, b"in the log")
    broker.takes_while_away = False
    durable_too = crashing.keep(2, b"only on disk")
    await durable_too
    await crashing.close()
    await first.close()
    broker.is_away = False
    second = Spool(folder, max_bytes=65_536, clock_ms=now_ms)
    await second.open()
    assert second.frames == 2
    restarted = BrokerFirst(broker, second, clock_ms=now_ms, wait_s=WAIT_S)
    restarted.start()
    await until(lambda: second.frames == 0)
    assert payloads(broker) == [b"in the log", b"only on disk"]
    assert len(broker.searched) == 1
    await restarted.close()
    await second.close()


async def test_refusals_are_spooled(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """An error of the broker sends the frame to the spool, from where it is tried again until it is taken."""
    broker.error = ConnectionError()
    await durable.keep(1, b"a")
    assert spool.frames == 1
    broker.error = None
    await until(lambda: spool.frames == 0)
    assert payloads(broker) == [b"a"]


async def test_at_the_cap_nothing_is_promised(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """With broker and spool unable a frame is not durable, and that is said at once; later frames are taken again."""
    broker.is_away = True
    broker.takes_while_away = False
    await durable.keep(1, bytes(4_000))
    kept = 1
    while spool.bytes_used + 4_100 < 65_536:
        await durable.keep(1, bytes(4_000))
        kept += 1
    with pytest.raises(NotDurableError):
        await durable.keep(1, bytes(4_000))
    assert kept == 16
    broker.come_back()
    await until(lambda: spool.frames == 0)
    assert len(broker.log) == kept
    await durable.keep(1, b"again")


async def test_without_a_spool(broker: FakeBroker) -> None:
    """Without a spool a broker that is away costs one wait, then nothing; it is tried again, and taken back."""
    durable = BrokerFirst(broker, None, clock_ms=now_ms, wait_s=WAIT_S)
    durable.start()
    broker.is_away = True
    with pytest.raises(NotDurableError):
        await durable.keep(1, b"a")
    started_s = asyncio.get_running_loop().time()
    for _ in range(10):
        with pytest.raises(NotDurableError):
            await durable.keep(1, b"b")
    assert asyncio.get_running_loop().time() - started_s < WAIT_S
    broker.come_back()
    await asyncio.sleep(0)
    await durable.keep(1, b"c")
    await durable.close()


async def test_without_a_connection(broker: FakeBroker, durable: BrokerFirst, spool: Spool) -> None:
    """A producer that has not connected yet is not waited for."""
    broker.is_connected = False
    await durable.keep(3, b"a")
    await until(lambda: spool.frames == 0)
    assert broker.repeats == [True]


async def test_what_is_on_its_way_at_the_end_is_spooled(broker: FakeBroker, spool: Spool) -> None:
    """A stop leaves nothing in memory: what the broker has not acknowledged is on disk."""
    durable = BrokerFirst(broker, spool, clock_ms=now_ms, wait_s=60)
    broker.is_away = True
    keeping = asyncio.create_task(durable.keep(1, b"a"))
    await asyncio.sleep(0.02)
    durable.breaker.failed(0.0)
    await durable.close()
    await keeping
    assert spool.frames == 1
