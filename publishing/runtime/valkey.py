"""The Redis or Valkey client of a process; only speed may depend on it."""

from redis.asyncio import Redis

from publishing.runtime.settings import Settings

SOCKET_TIMEOUT_S = 1.0


def open_valkey(settings: Settings) -> Redis:
    """A client with short timeouts; it connects at its first command."""
    client: Redis = Redis.from_url(
        settings.redis, socket_timeout=SOCKET_TIMEOUT_S, socket_connect_timeout=SOCKET_TIMEOUT_S
    )
    return client
