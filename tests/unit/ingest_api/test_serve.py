"""The server's configuration: the edge is in place, and nothing below it believes a client."""

import asyncio
import functools
from typing import cast

import pytest

from ingest_api.admission import EdgeLimits, edge_limits, trusted_proxies
from ingest_api.protocol import GuardedProtocol
from ingest_api.serve import configured, guarded
from publishing.domain.keys import KeyRing
from publishing.runtime.settings import Settings

pytestmark = pytest.mark.unit

RING = KeyRing((("k1", bytes(32)),))
SETTINGS = Settings(
    kafka_bootstrap_servers="127.0.0.1:1",
    database_url="postgresql://a@127.0.0.1:1/a",
    redis_url="redis://127.0.0.1:1/0",
    jwt_secret="a secret of tests that is longer than thirty-two bytes",
    jwt_issuer="tests",
    tracking_keys=RING,
    seal_keys=RING,
)


def test_the_edge_is_in_place() -> None:
    """The server speaks by the guarded protocol, and does not let a header say who the client is by itself."""
    config = configured(SETTINGS, guarded(SETTINGS))
    config.load()
    protocol = cast("functools.partial[asyncio.Protocol]", config.http_protocol_class)
    assert protocol.func is GuardedProtocol
    assert config.proxy_headers is False
    assert config.loaded_app is config.app


@pytest.mark.parametrize(("descriptors", "connections"), [(20_000, 16_384), (1_024, 896), (64, 32)])
def test_connections_leave_descriptors(descriptors: int, connections: int) -> None:
    """What the process may open is not all for connections: its services and its spool need theirs."""
    assert edge_limits(SETTINGS, descriptors=descriptors).max_connections == connections


def test_the_sweep_keeps_up_with_the_shortest_deadline() -> None:
    """Overdue connections are looked for once a second, and more often under short deadlines."""
    limits = edge_limits(SETTINGS, descriptors=20_000)
    assert limits.tick_s == 1
    short = EdgeLimits(1, 30, 30, 75, 16_384, 10, 10)
    assert short.tick_s == 0.25


def test_settings_say_who_is_trusted() -> None:
    """The networks of the settings are those that are trusted."""
    proxies = trusted_proxies(SETTINGS.model_copy(update={"trusted_proxies": "10.0.0.0/8,192.0.2.0/24"}))
    assert [proxies.trusts(peer) for peer in ("10.1.1.1", "192.0.2.1", "127.0.0.1")] == [True, True, False]
    with pytest.raises(ValueError, match="trusted_proxies"):
        Settings(trusted_proxies="10.0.0.0/99")
