"""Live hints: what a client gets, what a slow one loses, and how streams end."""

import asyncio

import msgspec
import pytest

from ingest_api.live import MAX_WAITING, Hints, Listener
from ingest_api.problems import ProblemError
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import live_channel, suppressions_channel

pytestmark = pytest.mark.unit

NOWHERE = Settings(redis_url="redis://127.0.0.1:1/0")
HINT = b'{"publications": [3], "watermark_ms": 7, "events": 2, "lag": null, "secret": "reader@example.org"}'


@pytest.fixture
def hints() -> Hints:
    """Hints of a cache that is away, with two streams at most and a quick heartbeat."""
    return Hints(NOWHERE, max_streams=2, heartbeat_s=0.05)


async def test_a_stream_says_that_the_cache_is_away_and_lives_on(hints: Hints) -> None:
    """Without a cache a client is told so, how soon to come back, and gets heartbeats."""
    stream = hints.open()
    first = await anext(stream)
    assert first.startswith(b"retry: 3000\n\n")
    assert b'event: state\ndata: {"cache":"away"}\n\n' in first
    assert await anext(stream) == b": beat\n\n"
    await hints.close()


async def test_every_stream_gets_what_is_published_and_nothing_more(hints: Hints) -> None:
    """One message reaches all streams; fields that are not known do not; what is no message reaches none."""
    streams = [hints.open() for _ in range(2)]
    for stream in streams:
        await anext(stream)
    hints._publish(live_channel(NOWHERE).encode(), HINT)
    hints._publish(live_channel(NOWHERE).encode(), b"no JSON")
    hints._publish(suppressions_channel(NOWHERE).encode(), b'{"destination": "x", "scope": "all"}')
    hints._publish(suppressions_channel(NOWHERE).encode(), b'{"destination": 5, "scope": "channel:1"}')
    for stream in streams:
        event, text, *_ = (await anext(stream)).decode().split("\n")
        assert event == "event: windows"
        known = {"publications": [3], "watermark_ms": 7, "events": 2, "lag": None}
        assert msgspec.json.decode(text.removeprefix("data: ")) == known
        assert await anext(stream) == b'event: suppressed\ndata: {"destination":5,"scope":"channel:1"}\n\n'
    await hints.close()


async def test_there_is_a_most_of_streams(hints: Hints) -> None:
    """Beyond the cap a client is told to come back; a stream that ends makes room, one never read takes none."""
    unread = hints.open()
    streams = [hints.open() for _ in range(2)]
    for stream in streams:
        await anext(stream)
    with pytest.raises(ProblemError) as refused:
        hints.open()
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "15")
    assert [event async for event in unread] == []
    await streams[0].aclose()  # type: ignore[attr-defined]
    assert (await anext(hints.open())).startswith(b"retry")
    await hints.close()


async def test_close_ends_every_stream_at_once(hints: Hints) -> None:
    """A stopping server waits for no heartbeat, and opens no stream any more."""
    patient = Hints(NOWHERE, heartbeat_s=60)
    stream = patient.open()
    await anext(stream)
    ending = asyncio.create_task(anext(stream, b"ended"))
    await asyncio.sleep(0.05)
    await patient.close()
    async with asyncio.timeout(1):
        assert await ending == b"ended"
    with pytest.raises(ProblemError):
        patient.open()


async def test_a_slow_client_loses_the_oldest_hints_and_no_memory() -> None:
    """What waits is bounded, and the newest is what stays."""
    listener = Listener()
    for number in range(MAX_WAITING + 100):
        listener.give(b"%d" % number)
    events = listener.events(1)
    kept = [await anext(events) for _ in range(MAX_WAITING)]
    assert kept == [b"%d" % number for number in range(100, MAX_WAITING + 100)]
