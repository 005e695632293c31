"""Simulators on loopback ports: a uvicorn server each, in one event loop, whose connections can be reset."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from perf.providers.simulator import RESET_EXTENSION, Simulator

HOST = "127.0.0.1"
_START_TIMEOUT_S = 10.0
_GRACE_S = 2


class ResettableProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol that hands the app a way to reset its connection."""

    def on_message_begin(self) -> None:
        """Put the reset into the scope of the request."""
        super().on_message_begin()
        extensions: dict[str, Any] = {RESET_EXTENSION: self.reset}
        self.scope["extensions"] = extensions

    def reset(self) -> None:
        """Close the connection by RST: a zero linger drops what is unsent and says so to the peer."""
        opened = self.transport.get_extra_info("socket")
        # uvloop shows its socket without its options: they are set on a second descriptor of the same socket.
        with socket.socket(fileno=os.dup(opened.fileno())) as twin:
            twin.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class _Server(uvicorn.Server):
    """A uvicorn server that leaves the signals to the process around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(port: int) -> socket.socket:
    listener = socket.create_server((HOST, port), backlog=2048)
    listener.setblocking(False)
    return listener


def _server(app: Any) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            http=ResettableProtocol,
            ws="none",
            lifespan="off",
            access_log=False,
            log_config=None,
            server_header=False,
            timeout_keep_alive=120,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )


@contextlib.asynccontextmanager
async def serve(
    simulators: Mapping[str, Simulator], ports: Mapping[str, int] | None = None
) -> AsyncIterator[dict[str, int]]:
    """Serve the simulators until the block ends; yields their ports by name (0 in `ports`, or none = any free).

    Raises OSError when a port is taken: choose another.
    """
    wanted = ports or {}
    listeners = {name: _listen(wanted.get(name, 0)) for name in simulators}
    servers = {name: _server(simulator) for name, simulator in simulators.items()}
    tasks = [asyncio.create_task(server.serve(sockets=[listeners[name]])) for name, server in servers.items()]
    try:
        async with asyncio.timeout(_START_TIMEOUT_S):
            while not all(server.started for server in servers.values()):  # noqa: ASYNC110  - uvicorn has no event for it
                await asyncio.sleep(0.01)
        yield {name: listener.getsockname()[1] for name, listener in listeners.items()}
    finally:
        for name, server in servers.items():
            simulators[name].closing.set()
            server.should_exit = True
        await asyncio.gather(*tasks)
        for simulator in simulators.values():
            simulator.provider.journal.raw.close()
