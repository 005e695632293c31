"""The protocol of a connection, fed byte for byte over a transport that only remembers."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
import uvicorn
from uvicorn.server import ServerState

from ingest_api.admission import MAX_LINGERING, Admission, EdgeLimits
from ingest_api.client_address import TrustedProxies, parse_networks
from ingest_api.direct import Answer, Direct, Headers, reply_of
from ingest_api.protocol import GuardedProtocol

pytestmark = pytest.mark.unit

LIMITS = EdgeLimits(
    header_wait_s=0.2,
    body_wait_s=0.2,
    write_wait_s=0.2,
    keep_alive_s=0.2,
    max_header_bytes=1_024,
    max_connections=6,
    max_connections_per_address=2,
    max_body_bytes=1_000,
)
GET = b"GET /a HTTP/1.1\r\nHost: a\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a\r\n"


class Peer:
    """Says which address a connection comes from, as a socket does."""

    def __init__(self, address: str) -> None:
        self.address = address

    def getpeername(self) -> tuple[str, int]:
        """The other side."""
        return self.address, 4_711

    def getsockname(self) -> tuple[str, int]:
        """This side."""
        return "192.0.2.1", 80


class Remembered(asyncio.Transport):
    """A transport without a network."""

    def __init__(self, address: str) -> None:
        super().__init__({"socket": Peer(address)})
        self.written = b""
        self.end = ""
        self.is_reading_paused = False
        self.has_said_all = False

    def write(self, data: Any) -> None:
        """Keep what is sent."""
        self.written += bytes(data)

    def can_write_eof(self) -> bool:
        """A socket can."""
        return True

    def write_eof(self) -> None:
        """Keep that no more comes."""
        self.has_said_all = True

    def is_closing(self) -> bool:
        """Whether the connection was ended."""
        return bool(self.end)

    def close(self) -> None:
        """End in order."""
        self.end = self.end or "closed"

    def abort(self) -> None:
        """End at once."""
        self.end = "aborted"

    def pause_reading(self) -> None:
        """Take no more."""
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        """Take more."""
        self.is_reading_paused = False


class Edge:
    """A server of this application, and the connections to it."""

    def __init__(self, *, networks: str = "", direct: Direct | None = None) -> None:
        self._direct = direct
        self.scopes: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.parts = 1
        self.reads_body = False
        proxies = TrustedProxies(parse_networks(networks), header="x-forwarded-for")
        self.admission = Admission(LIMITS, proxies)
        self._config = uvicorn.Config(
            self._application, log_config=None, ws="none", lifespan="off", proxy_headers=False, interface="asgi3"
        )
        self._state = ServerState()

    async def _application(self, scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
        self.scopes.append(scope)
        while self.reads_body:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.scopes.append({"gone": True})
                return
            if not message["more_body"]:
                break
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await self.gate.wait()
        await send({"type": "http.response.body"})

    def connect(self, address: str = "192.0.2.7") -> tuple[GuardedProtocol, Remembered]:
        """Make a connection from an address."""
        transport = Remembered(address)
        loop = asyncio.get_running_loop()
        protocol = GuardedProtocol(self._config, self._state, {}, loop, guard=self.admission, direct=self._direct)
        protocol.connection_made(transport)
        return protocol, transport

    def statuses(self, transport: Remembered) -> list[int]:
        """The statuses that went out on a connection."""
        return [int(part[:3]) for part in transport.written.split(b"HTTP/1.1 ")[1:]]


async def ended(transport: Remembered) -> None:
    """Wait until the sweep has seen to a connection, two seconds at the most."""
    async with asyncio.timeout(2):
        while not transport.end and not transport.has_said_all:  # noqa: ASYNC110  - the sweep is a timer
            await asyncio.sleep(0.01)


async def settled() -> None:
    """Let the application's tasks run."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_an_idle_connection_is_closed() -> None:
    """A connection that asked, and asks no more, is closed without a word; so is one that never asked."""
    edge = Edge()
    protocol, transport = edge.connect()
    _, silent = edge.connect()
    protocol.data_received(GET)
    await settled()
    assert edge.statuses(transport) == [204]
    assert transport.end == ""
    await asyncio.gather(ended(transport), ended(silent))
    assert (transport.end, silent.end) == ("closed", "closed")
    assert (edge.statuses(transport), silent.written) == ([204], b"")


async def test_what_is_closed_but_not_taken_is_aborted() -> None:
    """A client that does not take its answer cannot keep a closed connection."""
    edge = Edge()
    protocol, transport = edge.connect()
    protocol.data_received(POST + b"Connection: close\r\nContent-Length: 0\r\n\r\n")
    await settled()
    assert transport.end == "closed"
    async with asyncio.timeout(2):
        while transport.end != "aborted":  # noqa: ASYNC110  - the sweep is a timer
            await asyncio.sleep(0.01)


async def test_an_answer_that_is_at_work_has_no_deadline() -> None:
    """While the application streams, the client need not say anything."""
    edge = Edge()
    edge.gate.clear()
    protocol, transport = edge.connect()
    protocol.data_received(GET)
    await asyncio.sleep(0.6)
    assert transport.end == ""
    edge.gate.set()
    await settled()
    assert edge.statuses(transport) == [204]


@pytest.mark.parametrize("opening", [b"GET /a HT", POST + b"Content-Length: 5\r\n\r\na"])
async def test_what_is_late_is_a_408(opening: bytes) -> None:
    """A head or a body that is not complete in time is answered, heard out for a moment, and cut off."""
    edge = Edge()
    edge.reads_body = True
    protocol, transport = edge.connect()
    protocol.data_received(opening)
    await ended(transport)
    assert edge.statuses(transport) == [408]
    assert transport.has_said_all
    await settled()
    assert not edge.scopes or edge.scopes[-1] == {"gone": True}
    protocol.data_received(b"more")
    assert edge.statuses(transport) == [408]


async def test_a_reader_that_stops_is_cut_off() -> None:
    """A client that takes nothing of its answer is aborted; one that goes on reading is not."""
    edge = Edge()
    edge.gate.clear()
    protocol, transport = edge.connect()
    other, beside = edge.connect()
    for each in (protocol, other):
        each.data_received(GET)
        each.pause_writing()
    other.resume_writing()
    await ended(transport)
    assert (transport.end, beside.end) == ("aborted", "")
    protocol.connection_lost(None)
    edge.gate.set()
    await settled()


async def test_a_late_application_is_not_the_clients_fault() -> None:
    """While this side does not read, a body is not overdue."""
    edge = Edge()
    edge.gate.clear()
    protocol, transport = edge.connect()
    protocol.data_received(POST + b"Content-Length: 5\r\n\r\na")
    protocol.flow.pause_reading()
    await asyncio.sleep(0.5)
    assert transport.written.count(b" 408 ") == 0
    edge.gate.set()
    await settled()


async def test_an_answer_before_the_end_of_the_body_ends_the_connection() -> None:
    """What is left of the body is thrown away, and is no request."""
    edge = Edge()
    protocol, transport = edge.connect()
    protocol.data_received(POST + b"Content-Length: 500\r\n\r\na")
    await settled()
    assert edge.statuses(transport) == [204]
    assert (transport.end, transport.has_said_all) == ("", True)
    protocol.data_received(b"a" * 499 + GET)
    await settled()
    assert edge.statuses(transport) == [204]
    protocol._unparsed = 1 << 40
    protocol.data_received(b"a")
    assert transport.end == "aborted"


async def test_a_fault_of_a_queued_body_costs_that_request_only() -> None:
    """The request at work is answered, the queued one whose body is faulty is dropped, and the connection closes."""
    edge = Edge()
    edge.gate.clear()
    protocol, transport = edge.connect()
    protocol.data_received(GET + POST + b"Transfer-Encoding: chunked\r\n\r\n")
    await settled()
    protocol.data_received(b"nonsense\r\n")
    edge.gate.set()
    await settled()
    assert len(edge.scopes) == 1
    assert edge.statuses(transport) == [204]
    assert transport.end == "closed"


async def test_a_fault_of_a_body_whose_answer_has_begun() -> None:
    """An answer that has begun cannot turn into a problem: the connection is cut."""
    edge = Edge()
    edge.gate.clear()
    protocol, transport = edge.connect()
    protocol.data_received(POST + b"Transfer-Encoding: chunked\r\n\r\n")
    await settled()
    protocol.data_received(b"nonsense\r\n")
    assert transport.end == "aborted"
    assert edge.statuses(transport) == [204]
    edge.gate.set()
    await settled()


async def test_a_body_above_the_cap() -> None:
    """A body is refused by its length before it is asked for, and in chunks once it is too large."""
    edge = Edge()
    edge.reads_body = True
    announced, by_length = edge.connect()
    announced.data_received(POST + b"Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n")
    assert edge.statuses(by_length) == [413]
    chunked, in_chunks = edge.connect()
    chunked.data_received(POST + b"Transfer-Encoding: chunked\r\n\r\n" + (b"1f4\r\n" + b"a" * 500 + b"\r\n") * 3)
    assert edge.statuses(in_chunks) == [413]


async def test_clients_have_their_share() -> None:
    """A third connection of a client is a 429, a place that is given back can be had, and the whole has a cap too."""
    edge = Edge()
    first, _ = edge.connect("192.0.2.7")
    edge.connect("::ffff:192.0.2.7")
    refused, third = edge.connect("192.0.2.7")
    assert edge.statuses(third) == [429]
    refused.connection_lost(None)
    first.connection_lost(None)
    _, fourth = edge.connect("192.0.2.7")
    assert fourth.written == b""
    for number in range(4):
        _, other = edge.connect(f"2001:db8:0:{number}::1")
        assert other.written == b""
    _, last = edge.connect("198.51.100.1")
    assert edge.statuses(last) == [503]


async def test_clients_behind_a_proxy_have_their_share() -> None:
    """A trusted proxy's connections count for whom it names; what a client wrote itself names nobody."""
    edge = Edge(networks="10.0.0.0/8")
    asked = b"GET /a HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.%d, 198.51.100.1\r\n\r\n"
    connections = [edge.connect("10.0.0.1") for _ in range(3)]
    for number, (protocol, _) in enumerate(connections):
        protocol.data_received(asked % number)
    await settled()
    assert [edge.statuses(transport) for _, transport in connections] == [[204], [204], [429]]
    assert {scope["client"][0] for scope in edge.scopes} == {"198.51.100.1"}
    direct, transport = edge.connect("192.0.2.7")
    direct.data_received(asked % 9)
    await settled()
    assert edge.statuses(transport) == [204]
    assert edge.scopes[-1]["client"] == ("192.0.2.7", 4_711)
    plain, _ = edge.connect("10.0.0.2")
    plain.data_received(GET)
    await settled()
    assert edge.scopes[-1]["client"] == ("10.0.0.2", 4_711)


async def test_few_are_heard_out_at_a_time() -> None:
    """Refused connections do not gather: beyond a number of them they are closed at once."""
    edge = Edge()
    edge.admission.lingering = MAX_LINGERING
    protocol, transport = edge.connect()
    protocol.data_received(b"nonsense\r\n\r\n")
    assert edge.statuses(transport) == [400]
    assert (transport.end, transport.has_said_all) == ("closed", False)
    edge.admission.lingering = 0
    protocol, transport = edge.connect()
    protocol.data_received(b"nonsense\r\n\r\n")
    assert edge.admission.lingering == 1
    cast("Any", protocol).connection_lost(None)
    assert edge.admission.lingering == 0


async def test_the_sweep_ends_with_the_connections() -> None:
    """Without connections there is no timer, and the next connection sets it again."""
    edge = Edge()
    protocol, _ = edge.connect()
    protocol.connection_lost(None)
    await asyncio.sleep(0.3)
    assert len(edge.admission) == 0
    assert edge.admission._timer is None
    _, transport = edge.connect()
    await ended(transport)
    assert transport.end == "closed"


class Taking:
    """Takes every request that it is offered, and answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, str]] = []
        self.answers: list[Answer] = []

    def __call__(self, url: bytes, _: Headers, client: str, answer: Answer) -> bool:
        """Take a request."""
        self.asked.append((url, client))
        self.answers.append(answer)
        return True

    def answer(self) -> None:
        """Answer the oldest request."""
        self.answers.pop(0)(reply_of(200, ((b"x-kind", b"direct"),), b"ok"))


async def test_a_request_is_answered_without_a_task() -> None:
    """What is taken is answered in one write, and the application has not seen it; the connection lives on."""
    taking = Taking()
    edge = Edge(direct=taking)
    protocol, transport = edge.connect()
    protocol.data_received(GET)
    await settled()
    assert (edge.scopes, transport.written, taking.asked) == ([], b"", [(b"/a", "192.0.2.7")])
    taking.answer()
    assert transport.written == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nx-kind: direct\r\n\r\nok"
    protocol.data_received(GET)
    taking.answer()
    assert edge.statuses(transport) == [200, 200]
    await ended(transport)
    assert transport.end == "closed"


@pytest.mark.parametrize(
    "request_of",
    [
        POST + b"Content-Length: 0\r\n\r\n",
        GET.replace(b"GET", b"HEAD"),
        GET.replace(b"\r\n\r\n", b"\r\nContent-Length: 1\r\n\r\na"),
        GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        b"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    ],
)
async def test_only_plain_requests_are_taken(request_of: bytes) -> None:
    """A body, another method, an older version or a last request is the application's."""
    taking = Taking()
    edge = Edge(direct=taking)
    protocol, transport = edge.connect()
    protocol.data_received(request_of)
    await settled()
    assert (taking.asked, edge.statuses(transport)) == ([], [204])


async def test_answers_keep_the_order_of_requests() -> None:
    """What is asked behind a request that was taken waits for its answer."""
    taking = Taking()
    edge = Edge(direct=taking)
    protocol, transport = edge.connect()
    protocol.data_received(GET + GET)
    await settled()
    assert edge.statuses(transport) == []
    taking.answer()
    await settled()
    assert edge.statuses(transport) == [200, 204]


async def test_nobody_is_answered_who_is_gone() -> None:
    """The answer to a client that has left goes nowhere."""
    taking = Taking()
    edge = Edge(direct=taking)
    protocol, transport = edge.connect()
    protocol.data_received(GET)
    protocol.connection_lost(None)
    taking.answer()
    assert transport.written == b""


@pytest.mark.parametrize("is_asked_before", [True, False])
async def test_the_last_answer_says_so(is_asked_before: bool) -> None:  # noqa: FBT001  - a case of the table
    """A stopping server answers the request at work, or one that was on its way, before it closes the connection."""
    taking = Taking()
    edge = Edge(direct=taking)
    protocol, transport = edge.connect()
    if is_asked_before:
        protocol.data_received(GET)
    protocol.finish()
    assert transport.end == ""
    if not is_asked_before:
        protocol.data_received(GET)
    taking.answer()
    assert b"connection: close\r\n" in transport.written
    assert (edge.statuses(transport), transport.end) == ([200], "closed")
