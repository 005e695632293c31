"""Which loopback ports are chosen."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from publishing.local import ports
from publishing.local.errors import NoFreePortError, PortTakenError
from publishing.local.ports import FIRST_PORT, LAST_PORT, choose_port, is_free

pytestmark = pytest.mark.unit


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A socket that listens on a port of the chosen range."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", choose_port("test", 0, 4242)))
        listening.listen()
        yield listening


def test_a_port_that_is_listened_on_is_not_free(listener: socket.socket) -> None:
    """A second server could not listen there."""
    assert not is_free(listener.getsockname()[1])


def test_a_wanted_port_that_is_taken_is_refused(listener: socket.socket) -> None:
    """The error names the service and the port."""
    port = listener.getsockname()[1]
    with pytest.raises(PortTakenError, match=f"Port {port} for kafka is taken"):
        choose_port("kafka", port, 0)


def test_a_taken_port_is_passed_over(listener: socket.socket) -> None:
    """The search goes on from a port that is in use."""
    port = listener.getsockname()[1]
    assert choose_port("kafka", 0, port - FIRST_PORT) != port


def test_a_port_of_a_sibling_is_passed_over() -> None:
    """A port that another server of the set will use is not chosen, though nothing listens there yet."""
    first = choose_port("kafka", 0, 77)
    assert choose_port("kafka", 0, 77, frozenset({first})) != first


@pytest.mark.parametrize("start", [0, 1, LAST_PORT - FIRST_PORT - 1, 2**33])
def test_ports_lie_below_the_ones_of_outgoing_connections(start: int) -> None:
    """Any start number leads into the range."""
    assert FIRST_PORT <= choose_port("kafka", 0, start) < LAST_PORT < 32_768


def test_a_range_without_a_free_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search ends with an error that names the range."""
    monkeypatch.setattr(ports, "is_free", lambda _: False)
    with pytest.raises(NoFreePortError, match=str(FIRST_PORT)):
        choose_port("kafka", 0, 0)
