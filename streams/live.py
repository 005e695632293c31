"""Says on the live channel that windows have changed: after commits, coalesced, best effort, never waited for."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterable

from redis.exceptions import RedisError

from publishing.runtime import metrics
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import live_channel, open_valkey

# A page draws a few times a second at most.
INTERVAL_S = 0.2
# A message names so many publications at most; the page of another one sees it at its next refresh.
MAX_PUBLICATIONS = 1_000

Publish = Callable[[str, str], Awaitable[object]]


class Live:
    """What has changed since the last message, and the one task that sends it; a cache that is away costs nothing."""

    def __init__(self, channel: str, publish: Publish | None) -> None:
        """Announce on the channel; without `publish` forget everything at once."""
        self._channel = channel
        self._publish = publish
        self._publications: set[int] = set()
        self._events = 0
        self._watermark_ms = 0
        self._task: asyncio.Task[None] | None = None

    def changed(self, publications: Iterable[int], *, watermark_ms: int, events: int) -> None:
        """Note a commit; it is announced within INTERVAL_S with all that were noted meanwhile."""
        if self._publish is None:
            return
        room = MAX_PUBLICATIONS - len(self._publications)
        self._publications.update(list(publications)[:room])
        self._watermark_ms, self._events = watermark_ms, self._events + events
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._announce(self._publish))

    async def _announce(self, publish: Publish) -> None:
        """Send until nothing has changed; between two messages lie INTERVAL_S."""
        while self._events:
            message = {
                "publications": sorted(self._publications),
                "watermark_ms": self._watermark_ms,
                "events": self._events,
                "lag": None,
            }
            self._publications.clear()
            self._events = 0
            try:
                async with asyncio.timeout(1.0):
                    await publish(self._channel, json.dumps(message))
            except (RedisError, OSError, TimeoutError):
                metrics.LOOP_FAILURES.labels("live").inc()
            await asyncio.sleep(INTERVAL_S)


def opened_live(settings: Settings) -> Live:
    """Live announcements by the cache of the settings; none where none is set."""
    if settings.redis_url is None:
        return Live(live_channel(settings), None)
    client = open_valkey(settings)
    return Live(live_channel(settings), client.publish)
