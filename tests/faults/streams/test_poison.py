"""R11 and R12: poison goes alone to the DLQ; where nearly all is poison the worker stops."""

import random
import signal

import pytest

from schemas.codec import encode
from schemas.errors import SchemaError
from schemas.frames import decode_frame
from schemas.messages import PublicationChanged
from tests.faults.streams.conftest import Stage
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.faults

HEADERS = {"source_topic", "source_partition", "source_offset", "reason", "error", "failed_at"}


def poison_of(good: bytes) -> dict[str, list[bytes | None]]:
    """Poison by the reason that its dead letter must name."""
    other = encode(PublicationChanged(publication_id=1, version=1, status="done"))
    enum = bytearray(good)
    enum[-60:] = b"\xff" * 60
    return {
        "malformed": [
            b"\x01" + good[1:],
            good[:-7],
            good + b"\x00",
            b"",
            b"garbage",
            b'{"events": NaN}',
            b"[" * 10_000,
            b"\x00\x00\x00\x00\x06" + b"\xff" * 40,
            bytes(enum),
            None,
        ],
        "unknown_schema_id": [b"\x00\x00\x00\x27\x0f" + good[5:]],
        "wrong_message": [other],
    }


def is_poison(value: bytes | None) -> bool:
    """Whether the decoder refuses the bytes."""
    try:
        decode_frame(value or b"")
    except SchemaError:
        return True
    return False


def mutated(good: bytes, chance: random.Random) -> bytes:
    """A frame with one random byte changed at a random place."""
    place = chance.randrange(len(good))
    return good[:place] + bytes([good[place] ^ chance.randrange(1, 256)]) + good[place + 1 :]


async def produce_mixture(stage: Stage) -> dict[int, bytes | None]:
    """Poison among good frames, and random mutations; returns what must be buried, by offset in partition 0."""
    chance = random.Random(11)
    named = [value for values in poison_of(stage.frame(shard=0)).values() for value in values]
    mutations: list[bytes | None] = [mutated(stage.frame(shard=0), chance) for _ in range(40)]
    good: list[bytes | None] = [stage.frame(shard=0) for _ in range(80)]
    values = [*named, *mutations, *good]
    chance.shuffle(values)
    await stage.produce(values, partition=0)
    buried = {offset: value for offset, value in enumerate(values) if is_poison(value)}
    assert len(named) < len(buried) < len(named) + len(mutations)
    return buried


async def test_poison_alone_is_buried_and_its_neighbours_count(stage: Stage) -> None:
    """Exactly the poison is in the DLQ, raw, with where and why; everything else is in the windows."""
    buried = await produce_mixture(stage)
    async with stage.worker() as worker:
        await stage.drained()
        worker.send(signal.SIGTERM)
        assert await worker.exited() == 0
    letters = await stage.dead_letters()
    assert {int(dict(letter.headers)["source_offset"]): letter.value for letter in letters} == {
        offset: value or b"" for offset, value in buried.items()
    }
    for letter in letters:
        headers = {name: value.decode() for name, value in letter.headers}
        assert headers.keys() >= HEADERS
        assert headers["source_topic"] == ENGAGEMENT_RECORDED.name
        place = (headers["source_topic"], headers["source_partition"], headers["source_offset"])
        assert letter.key.decode() == "/".join(place)
    reasons = {letter.value: dict(letter.headers)["reason"].decode() for letter in letters}
    for reason, values in poison_of(b"").items():
        if reason != "malformed":
            assert reason in reasons.values(), values
    assert await stage.windows() == await stage.recount()


async def test_the_mutant_that_skips_poison_leaves_no_trace(stage: Stage) -> None:
    """Without the burial the counts still hold, and only the DLQ shows what is missing: it is really looked at."""
    buried = await produce_mixture(stage)
    async with stage.worker("skip_without_burying"):
        await stage.drained()
    assert buried
    assert await stage.dead_letters() == []
    assert await stage.windows() == await stage.recount()


async def test_all_poison_stops_the_worker_without_advancing(stage: Stage) -> None:
    """A bad deploy: the worker exits with 1 and says why, long before the topic is in the DLQ."""
    for shard in range(stage.settings.audience_shards):
        await stage.produce([b"bad"] * 250, partition=shard)
    async with stage.worker() as worker:
        assert await worker.exited() == 1
    assert any("poison.limit_exceeded" in line and '"level": "critical"' in line for line in worker.lines)
    assert await stage.offsets() <= len(await stage.dead_letters()) == 99


async def test_the_mutant_without_the_limit_buries_everything(stage: Stage) -> None:
    """Without the limit the whole topic ends in the DLQ."""
    await stage.produce([b"bad"] * 250, partition=0)
    async with stage.worker("limit_off"):
        await stage.drained()
    assert len(await stage.dead_letters()) == 250
