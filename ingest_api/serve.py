"""Owns the process of the API: uvicorn around the application until SIGTERM."""

import asyncio
import functools
import gc
import resource
import socket
from typing import cast

import uvicorn

from ingest_api.admission import Admission, edge_limits, trusted_proxies
from ingest_api.app import create_app
from ingest_api.direct import Direct
from ingest_api.front import Front
from ingest_api.protocol import GuardedProtocol
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.settings import Settings, SettingsError, exit_on_settings_error, load_settings

REQUIRED = ("kafka_bootstrap_servers", "database_url", "redis_url", "tracking_keys", "seal_keys", "jwt_issuer")
# Requests at work are finished; a supervisor kills after 10 s.
SHUTDOWN_WAIT_S = 7
# A connection that was quiet for so long has no request on its way.
QUIET_S = 0.5
# Connections that wait to be accepted; the kernel's own limit is the lower one on most machines.
BACKLOG = 4_096
# What the kernel holds unsent of one connection. By itself it takes megabytes, and a client that reads nothing would
# look like one that has everything; beyond this it is seen by the write deadline.
UNSENT_BYTES = 65_536
# Objects made before the youngest are looked through; requests that wait for the broker are some dozens each.
GC_ALLOCATIONS = 20_000

log = get_logger(__name__)


def main() -> None:
    """Serve until SIGTERM or SIGINT, then finish the requests at work; exits with 2 when a setting is missing."""
    try:
        settings = load_settings(*REQUIRED)
    except SettingsError as error:
        exit_on_settings_error(error)
    configure_logs(settings, "api")
    app = create_app(settings)
    config = configured(settings, guarded(settings, app.direct), app)
    listener = config.bind_socket()
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
    log.info("api.listening", port=listener.getsockname()[1])
    Server(config).run(sockets=[listener])


class Server(uvicorn.Server):
    """Ends the event streams before it waits for the requests at work."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then keep what is loaded out of the garbage collector's rounds: they cost a hit a third of its CPU."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_ALLOCATIONS)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop: streams at once, everything else within the grace of the configuration.

        A connection that seems idle may have a request on its way. So it is told to close by an answer, and closed
        without one only when it was quiet for a moment.
        """
        app = self.config.app
        assert isinstance(app, Front)
        for listener in self.servers:
            listener.close()
        for opened in sockets or ():
            opened.close()
        for connection in list(self.server_state.connections):
            if isinstance(connection, GuardedProtocol):
                connection.finish()
        await asyncio.gather(app.end_streams(), asyncio.sleep(QUIET_S))
        await super().shutdown(sockets)


def guarded(settings: Settings, direct: Direct | None = None) -> type[asyncio.Protocol]:
    """Return what makes the protocol of a connection, all under one guard; opens as many files as are allowed.

    `direct` takes what it can of the requests before the application does.
    """
    admission = Admission(edge_limits(settings, descriptors=raise_descriptor_limit()), trusted_proxies(settings))
    return cast("type[asyncio.Protocol]", functools.partial(GuardedProtocol, guard=admission, direct=direct))


def configured(settings: Settings, protocol: type[asyncio.Protocol], app: Front | None = None) -> uvicorn.Config:
    """Return the server's configuration around the application."""
    return uvicorn.Config(
        app or create_app(settings),
        host=settings.api_host,
        port=settings.api_port,
        loop="uvloop",
        interface="asgi3",
        http=protocol,
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        # The connection has the client's address from the proxies that the settings trust, and from no other.
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_graceful_shutdown=SHUTDOWN_WAIT_S,
    )


def raise_descriptor_limit() -> int:
    """Take all the descriptors that the system allows this process, and return how many they are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


if __name__ == "__main__":
    main()
