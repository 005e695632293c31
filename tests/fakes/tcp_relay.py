"""A TCP relay between a process and a server: it counts connections, and holds back what the server says."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

CHUNK_BYTES = 65_536


@dataclass(slots=True)
class Relay:
    """`delay_s` passes between an answer and its arrival; `connections` have been opened since the start."""

    host: str
    upstream_port: int
    port: int = 0
    delay_s: float = 0.0
    connections: int = 0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)

    async def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relay one connection until either side ends it."""
        self.connections += 1
        try:
            from_server, to_server = await asyncio.open_connection(self.host, self.upstream_port)
        except OSError:
            writer.close()
            return
        both = (
            asyncio.create_task(self._pump(reader, to_server, is_delayed=False)),
            asyncio.create_task(self._pump(from_server, writer, is_delayed=True)),
        )
        self._tasks.update(both)
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        for task in both:
            task.cancel()
        self._tasks.difference_update(both)
        for end in (writer, to_server):
            end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_delayed: bool) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(CHUNK_BYTES):
                if is_delayed and self.delay_s:
                    await asyncio.sleep(self.delay_s)
                writer.write(chunk)
                await writer.drain()

    def end(self) -> None:
        """Cut every connection."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def relay_to(address: str) -> AsyncIterator[tuple[Relay, str]]:
    """A relay before the server of an address (scheme://user@host:port/rest), and the address that goes through it."""
    head, _, tail = address.rpartition("@")
    place, _, rest = tail.partition("/")
    host, _, port = place.rpartition(":")
    relay = Relay(host, int(port))
    server = await asyncio.start_server(relay.accept, "127.0.0.1", 0)
    relay.port = server.sockets[0].getsockname()[1]
    try:
        yield relay, f"{head}@127.0.0.1:{relay.port}/{rest}"
    finally:
        relay.end()
        server.close()
