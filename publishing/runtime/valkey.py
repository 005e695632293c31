"""The Redis or Valkey client of a process, and its channels; only speed may depend on it."""

import asyncio
import json

from redis.asyncio import Redis
from redis.exceptions import RedisError

from publishing.runtime.settings import Settings

SOCKET_TIMEOUT_S = 1.0
# A reader who unsubscribes waits for the announcement at most this long: claims see the row in PostgreSQL anyway.
ANNOUNCEMENT_TIMEOUT_S = 0.2


def open_valkey(settings: Settings) -> Redis:
    """A client with short timeouts; it connects at its first command."""
    client: Redis = Redis.from_url(
        settings.redis, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
    )
    return client


def live_channel(settings: Settings) -> str:
    """Where the engagement app says that windows have changed: JSON of publications, watermark_ms, events and lag."""
    return f"{settings.topic_prefix}tidewire:live"


def suppressions_channel(settings: Settings) -> str:
    """Where a suppression is announced the moment it is written: JSON of destination and scope."""
    return f"{settings.topic_prefix}tidewire:suppressions"


async def announce_suppression(client: Redis, settings: Settings, destination: int, scope: str) -> bool:
    """Say within 200 ms that a destination is suppressed; False when the cache did not take it, which loses nothing."""
    text = json.dumps({"destination": destination, "scope": scope})
    try:
        async with asyncio.timeout(ANNOUNCEMENT_TIMEOUT_S):
            await client.publish(suppressions_channel(settings), text)
    except (RedisError, OSError, TimeoutError):
        return False
    return True
