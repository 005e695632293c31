"""Live announcements: coalesced, bounded, and nothing that the cache does reaches the stream."""

import asyncio
import json

import pytest
from redis.exceptions import ConnectionError as CacheError

from streams.live import INTERVAL_S, MAX_PUBLICATIONS, Live

pytestmark = pytest.mark.unit


class Cache:
    """Takes messages, fails as often as told, or never answers."""

    def __init__(self, *, failures: int = 0, hangs: bool = False) -> None:
        self.messages: list[dict[str, object]] = []
        self._failures = failures
        self._hangs = hangs

    async def publish(self, channel: str, text: str) -> object:
        """Take a message."""
        if self._hangs:
            await asyncio.Event().wait()
        if self._failures:
            self._failures -= 1
            raise CacheError
        self.messages.append({"channel": channel} | json.loads(text))
        return 1


async def test_commits_are_announced_together() -> None:
    """The first goes at once, all that follow within the interval are one message."""
    cache = Cache()
    live = Live("c", cache.publish)
    live.changed([3], watermark_ms=5, events=2)
    await asyncio.sleep(0.01)
    for number in range(20):
        live.changed([number % 2], watermark_ms=10 + number, events=1)
    await asyncio.sleep(INTERVAL_S * 1.5)
    assert cache.messages == [
        {"channel": "c", "publications": [3], "watermark_ms": 5, "events": 2, "lag": None},
        {"channel": "c", "publications": [0, 1], "watermark_ms": 29, "events": 20, "lag": None},
    ]


async def test_a_cache_that_is_away_or_hangs_costs_nothing() -> None:
    """What failed is forgotten, the next commit is announced, and noting a commit never waits."""
    cache = Cache(failures=1)
    live = Live("c", cache.publish)
    live.changed([1], watermark_ms=1, events=1)
    await asyncio.sleep(0.01)
    live.changed([2], watermark_ms=2, events=1)
    await asyncio.sleep(INTERVAL_S * 1.5)
    assert [message["publications"] for message in cache.messages] == [[2]]
    hung = Live("c", Cache(hangs=True).publish)
    for number in range(5_000):
        hung.changed([number], watermark_ms=1, events=1)
    assert len(hung._publications) == MAX_PUBLICATIONS


async def test_without_a_cache_nothing_is_kept() -> None:
    """An engagement app without TIDEWIRE_REDIS_URL works."""
    live = Live("c", None)
    live.changed([1], watermark_ms=1, events=1)
    assert not live._publications
