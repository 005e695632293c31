"""The collector: hits of a shard share a frame, and the answer waits until it is kept."""

import asyncio
import dataclasses

import pytest

from ingest_api import collector as module
from ingest_api.collector import MAX_EVENTS, Collector, Hit
from publishing.domain.verdicts import judge
from schemas.frames import KIND_INDEX, decode_frame
from schemas.messages import EngagementKind
from tests.fakes.durables import AwayDurable, HeldDurable, KeepingDurable

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000


def hit(destination: int, kind: EngagementKind = EngagementKind.CLICKED) -> Hit:
    """A hit of a destination."""
    return Hit(
        occurred_at_ms=NOW_MS,
        kind=kind,
        judgement=judge({b"purpose": b"prefetch"}),
        run_id=77,
        publication_id=12,
        channel_id=3,
        destination=destination,
        arm=1,
        content_id=9,
        link=2,
    )


def collector(durable: KeepingDurable | AwayDurable, linger_s: float = 0.01) -> Collector:
    """A collector of four shards."""
    return Collector(durable, shards=4, recorded_by="tests", clock_ms=lambda: NOW_MS, linger_s=linger_s)


async def test_hits_of_a_shard_share_a_frame() -> None:
    """Hits that come together are one frame a shard, in their order, with every number in place."""
    durable = KeepingDurable()
    gathering = collector(durable)
    kept = await asyncio.gather(*(gathering.record(hit(number)) for number in (4, 1, 8, 5, 12)))
    assert kept == [True] * 5
    frames = {shard: decode_frame(frame) for shard, frame in durable.frames}
    assert {shard: frame.events["destination"].tolist() for shard, frame in frames.items()} == {
        0: [4, 8, 12],
        1: [1, 5],
    }
    frame = frames[0]
    assert (frame.recorded_by, frame.recorded_at_ms) == ("tests", NOW_MS)
    event = frame.events[0]
    numbers = ("run_id", "publication_id", "channel_id", "arm", "content_id", "link", "rule", "flags", "occurred_at")
    assert [int(event[name]) for name in numbers] == [77, 12, 3, 1, 9, 2, 1, 2, NOW_MS]
    assert int(event["kind"]) == KIND_INDEX[EngagementKind.CLICKED]
    ids = {bytes(one["event_id"].tobytes()) for each in frames.values() for one in each.events}
    assert len(ids) == 5


async def test_a_full_frame_does_not_linger() -> None:
    """A frame of 200 hits leaves at once."""
    durable = KeepingDurable()
    gathering = collector(durable, linger_s=60)
    async with asyncio.timeout(5):
        await asyncio.gather(*(gathering.record(hit(4)) for _ in range(2 * MAX_EVENTS)))
    assert [len(decode_frame(frame).events) for _, frame in durable.frames] == [MAX_EVENTS, MAX_EVENTS]


async def test_the_answer_waits() -> None:
    """A hit is not answered before it is kept."""
    durable = HeldDurable()
    gathering = collector(durable)
    task = asyncio.create_task(gathering.record(hit(1)))
    await asyncio.sleep(0.05)
    assert not task.done()
    durable.released.set()
    assert await task is True


async def test_what_is_not_kept_says_so() -> None:
    """A hit that could not be kept answers False, whatever the reason."""
    assert await collector(AwayDurable()).record(hit(1)) is False
    assert await collector(AwayDurable(RuntimeError("broken"))).record(hit(1)) is False


async def test_a_cancelled_caller_loses_nothing() -> None:
    """A client that leaves takes neither its own hit nor its neighbours' with it."""
    durable = HeldDurable()
    gathering = collector(durable)
    gone = asyncio.create_task(gathering.record(hit(1)))
    stays = asyncio.create_task(gathering.record(hit(5)))
    await asyncio.sleep(0)
    gone.cancel()
    durable.released.set()
    assert await stays is True
    assert decode_frame(durable.frames[0][1]).events["destination"].tolist() == [1, 5]


async def test_an_id_from_outside_is_kept() -> None:
    """A hit with an id of its own keeps it, and its flag says that it is to be counted once."""
    durable = KeepingDurable()
    named = dataclasses.replace(hit(4), event_id=b"sixteen bytes id")
    assert await collector(durable).record_many([named, hit(8)]) is True
    first, second = decode_frame(durable.frames[0][1]).events
    assert bytes(first["event_id"]) == b"sixteen bytes id"
    assert [int(first["flags"]), int(second["flags"])] == [3, 2]


async def test_hits_of_nobody_are_spread_by_their_ids() -> None:
    """Hits without a reader go to every shard, and the same id from outside always to the same."""
    durable = KeepingDurable()
    await collector(durable).record_many([hit(0) for _ in range(100)])
    assert sorted(shard for shard, _ in durable.frames) == [0, 1, 2, 3]
    again = KeepingDurable()
    for _ in range(5):
        await collector(again).record(dataclasses.replace(hit(0), event_id=b"sixteen bytes id"))
    assert len({shard for shard, _ in again.frames}) == 1


async def test_many_are_durable_together() -> None:
    """Several hits are True once the frames of every shard are kept, and False when one of them is not."""
    held = HeldDurable()
    task = asyncio.create_task(collector(held).record_many([hit(number) for number in range(6)]))
    await asyncio.sleep(0.03)
    assert not task.done()
    held.released.set()
    assert await task is True
    assert sorted(shard for shard, _ in held.frames) == [0, 1, 2, 3]
    assert await collector(AwayDurable()).record_many([hit(1), hit(2)]) is False
    kept = KeepingDurable()
    assert await collector(kept).record_many([hit(4)] * (2 * MAX_EVENTS + 1)) is True
    assert [len(decode_frame(frame).events) for _, frame in kept.frames] == [MAX_EVENTS, MAX_EVENTS, 1]
    assert await collector(AwayDurable()).record_many([]) is True


async def test_drain_sends_what_is_gathered() -> None:
    """At the end nothing lingers."""
    durable = KeepingDurable()
    gathering = collector(durable, linger_s=60)
    task = asyncio.create_task(gathering.record(hit(1)))
    await asyncio.sleep(0)
    await gathering.drain()
    assert await task is True
    assert len(durable.frames) == 1


async def test_waiting_hits_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond its bound the collector drops at once, and takes hits again when the others are through."""
    monkeypatch.setattr(module, "MAX_WAITING", 3)
    durable = HeldDurable()
    gathering = collector(durable)
    tasks = [asyncio.create_task(gathering.record(hit(1))) for _ in range(3)]
    await asyncio.sleep(0)
    assert await gathering.record(hit(1)) is False
    durable.released.set()
    assert await asyncio.gather(*tasks) == [True] * 3
    assert await gathering.record(hit(1)) is True
