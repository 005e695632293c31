"""Owns the live hints: one subscription of the process to the cache, fanned out to every open event stream."""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from redis.exceptions import RedisError

from ingest_api.problems import ProblemError
from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import live_channel, open_valkey, suppressions_channel

# Streams of one process; a dashboard holds one.
MAX_STREAMS: Final = 200
# Hints that wait for a slow client; each only says "read again", so the oldest is the one to lose.
MAX_WAITING: Final = 32
# HTML Standard, section 9.2.7: a comment about every 15 s keeps proxies from closing a quiet stream.
HEARTBEAT_S: Final = 15.0
RETRY_MS: Final = 3_000
FIRST_PAUSE_S: Final = 0.25
LONGEST_PAUSE_S: Final = 5.0
# A cache that has answered no ping for two of these is away, also when its socket is still open.
PING_S: Final = 5.0

log = get_logger(__name__)


class WindowsChanged(msgspec.Struct, frozen=True, kw_only=True):
    """The engagement app has changed windows of these publications; lag is in records, null where it is not known."""

    publications: list[int]
    watermark_ms: int | None = None
    events: int = 0
    lag: int | None = None


class Suppressed(msgspec.Struct, frozen=True, kw_only=True):
    """A destination's number, and where it gets nothing any more: `all`, a kind of channel, or `channel:<id>`."""

    destination: int
    scope: str


class Listener:
    """One open stream: what waits for it, the newest last."""

    def __init__(self) -> None:
        """Begin with nothing waiting."""
        self._waiting: collections.deque[bytes] = collections.deque(maxlen=MAX_WAITING)
        self._woken = asyncio.Event()
        self._is_ended = False

    def give(self, event: bytes) -> None:
        """Let an event wait; the oldest goes when too many do."""
        if len(self._waiting) == MAX_WAITING:
            metrics.LIVE_HINTS.labels("dropped").inc()
        self._waiting.append(event)
        self._woken.set()

    def end(self) -> None:
        """End the stream."""
        self._is_ended = True
        self._woken.set()

    async def events(self, heartbeat_s: float) -> AsyncIterator[bytes]:
        """Give what comes, and a comment when nothing has come for heartbeat_s; returns once it is ended."""
        while not self._is_ended:
            try:
                async with asyncio.timeout(heartbeat_s):
                    await self._woken.wait()
            except TimeoutError:
                yield b": beat\n\n"
                continue
            self._woken.clear()
            while self._waiting and not self._is_ended:
                yield self._waiting.popleft()
                metrics.LIVE_HINTS.labels("sent").inc()


class Hints:
    """The streams of this process and their one subscription, which begins with the first stream."""

    def __init__(self, settings: Settings, *, max_streams: int = MAX_STREAMS, heartbeat_s: float = HEARTBEAT_S) -> None:
        """Keep where to listen; nothing is opened yet."""
        self._settings = settings
        self._max_streams = max_streams
        self._heartbeat_s = heartbeat_s
        self._shapes: dict[bytes, tuple[str, type[msgspec.Struct]]] = {
            live_channel(settings).encode(): ("windows", WindowsChanged),
            suppressions_channel(settings).encode(): ("suppressed", Suppressed),
        }
        self._listeners: set[Listener] = set()
        self._subscription: asyncio.Task[None] | None = None
        self._is_connected = False
        self._is_closed = False

    def open(self) -> AsyncIterator[bytes]:
        """Open a stream of server-sent events; raises a 503 problem when there are too many, or at the end."""
        if self._is_full:
            detail = "There are too many open streams; the numbers can be read without one."
            raise ProblemError(503, detail, headers={"Retry-After": "15"})
        return self._stream()

    async def close(self) -> None:
        """End every stream at once, and the subscription."""
        self._is_closed = True
        for listener in self._listeners:
            listener.end()
        if self._subscription is not None:
            self._subscription.cancel()
            await asyncio.gather(self._subscription, return_exceptions=True)
            self._subscription = None

    @property
    def _is_full(self) -> bool:
        return self._is_closed or len(self._listeners) >= self._max_streams

    async def _stream(self) -> AsyncIterator[bytes]:
        """Register only once the answer begins: a stream that is never read is never counted."""
        if self._is_full:
            return
        listener = Listener()
        self._listeners.add(listener)
        metrics.LIVE_STREAMS.set(len(self._listeners))
        if self._subscription is None:
            self._subscription = asyncio.create_task(self._subscribe())
        try:
            yield b"retry: %d\n\n" % RETRY_MS + self._state()
            async for event in listener.events(self._heartbeat_s):
                yield event
        finally:
            self._listeners.discard(listener)
            metrics.LIVE_STREAMS.set(len(self._listeners))

    def _state(self) -> bytes:
        return _event("state", b'{"cache":"%s"}' % (b"up" if self._is_connected else b"away"))

    def _fan_out(self, event: bytes) -> None:
        for listener in self._listeners:
            listener.give(event)

    def _connected(self, *, is_connected: bool) -> None:
        if is_connected != self._is_connected:
            self._is_connected = is_connected
            self._fan_out(self._state())

    async def _subscribe(self) -> None:
        """Listen until cancelled; a cache that is away is tried again after growing pauses."""
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                async with self._opened() as channel:
                    self._connected(is_connected=True)
                    pause_s = FIRST_PAUSE_S
                    await self._listen(channel)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("live.away", error=type(error).__name__)
            self._connected(is_connected=False)
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    @contextlib.asynccontextmanager
    async def _opened(self) -> AsyncIterator[Any]:
        client = open_valkey(self._settings)
        channel: Any = client.pubsub()
        try:
            await channel.subscribe(*self._shapes)
            yield channel
        finally:
            with contextlib.suppress(RedisError, OSError, TimeoutError):
                await channel.aclose()
                await client.aclose()

    async def _listen(self, channel: Any) -> None:
        """Pass on what is published; raises TimeoutError when the cache answers no ping."""
        is_asked = False
        while True:
            message = await channel.get_message(timeout=PING_S)
            if message is None:
                if is_asked:
                    raise TimeoutError
                await channel.ping()
                is_asked = True
                continue
            is_asked = False
            if message["type"] == "message":
                self._publish(message["channel"], message["data"])

    def _publish(self, name: bytes, text: bytes) -> None:
        """Pass on what was published, checked: nothing but the known fields reaches a client."""
        event, shape = self._shapes[name]
        try:
            known = msgspec.json.decode(text, type=shape)
        except (msgspec.DecodeError, UnicodeDecodeError):
            metrics.LIVE_HINTS.labels("malformed").inc()
            return
        self._fan_out(_event(event, msgspec.json.encode(known)))


def _event(name: str, text: bytes) -> bytes:
    """Spell an event; without an id, so that a client that comes back asks for nothing that is past."""
    return b"event: %s\ndata: %s\n\n" % (name.encode(), text)
