"""Owns HTTP/1.1 on a connection: strict where the parser is lenient, with a deadline for each part and caps on all."""

import asyncio
import functools
import math
from typing import Any, Final, NoReturn

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from ingest_api import admission
from ingest_api.admission import Admission, Refusal
from ingest_api.client_address import client_key
from ingest_api.direct import Direct, Reply
from ingest_api.exchange import DefaultHead, Exchange

# What is expected of the client next.
IDLE: Final = 0  # a request, some day
HEAD: Final = 1  # the rest of a head
BODY: Final = 2  # the rest of a body
ENDED: Final = 3  # nothing more is read; what was asked before is still answered
LINGERING: Final = 4  # nothing more is read, and everything is answered

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS"})
_WATCHED: Final = frozenset(
    {b"host", b"expect", b"upgrade", b"content-length", b"content-encoding", b"transfer-encoding"}
)

_HEAD: Final = DefaultHead()


class RefusedError(Exception):
    """The request is not read on: stops the parser; the refusal is answered when it has returned."""

    def __init__(self, refusal: Refusal) -> None:
        """Keep why."""
        super().__init__(refusal.reason)
        self.refusal = refusal


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with the guards of the edge; it sets no timer, and adds no object to a request."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        guard: Admission,
        direct: Direct | None = None,
    ) -> None:
        """Keep what all connections share: the guard, and what may take a request without ASGI."""
        super().__init__(config, server_state, app_state, _loop)
        self._guard = guard
        self._direct = direct
        self._phase = IDLE
        self._client_key: str | None = None
        self._is_proxied = False
        self._refusal: Refusal | None = None
        # Bytes read since a head was complete or a part of a body came: what the parser holds back.
        self._unparsed = 0
        self._body_bytes = 0
        self._hosts = 0
        self._has_body = self._is_chunked = self._is_upgrade = self._is_last = False
        self.due_s = math.inf
        self.write_due_s = math.inf

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it before a byte of it is read."""
        super().connection_made(transport)
        guard = self._guard
        refusal = guard.enter(self, self.loop)
        self.due_s = guard.now_s + guard.limits.header_wait_s
        peer = self.client[0] if self.client else ""
        self._is_proxied = guard.proxies.trusts(peer)
        if refusal is None and peer and not self._is_proxied:
            refusal = self._hold(client_key(peer))
        if refusal is not None:
            self._refuse(refusal)

    def connection_lost(self, exc: Exception | None) -> None:
        """Give the client's place back."""
        self._guard.leave(self)
        if self._phase == LINGERING:
            self._guard.lingering -= 1
            self._phase = ENDED
        self._release()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; a refusal that a callback raised, or any fault of the parser, ends the connection."""
        self._unparsed += len(data)
        if self._phase >= ENDED:
            if self._unparsed > admission.MAX_LINGER_BYTES:
                self.transport.abort()
            return
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # The upgrade is not taken (RFC 9110, 7.8); what follows may be another protocol's.
            self._end()
        except httptools.HttpParserError:
            self._refuse(self._refusal or admission.MALFORMED)
        else:
            if self._unparsed > self._guard.limits.max_header_bytes:
                self._refuse(admission.HEAD_TOO_LARGE)

    # Callbacks of the parser

    def on_message_begin(self) -> None:
        """Begin a request: its head is due from now on."""
        super().on_message_begin()
        self._phase = HEAD
        self.due_s = self._guard.now_s + self._guard.limits.header_wait_s
        self._hosts = self._body_bytes = 0
        self._has_body = self._is_chunked = self._is_upgrade = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header; those that frame the message are looked at."""
        name = name.lower()
        if name in _WATCHED:
            self._watch(name, value)
        self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Let a sound head become a request."""
        self._check_head()
        self._unparsed = 0
        if self._is_proxied:
            self._become_client()
        if len(self.pipeline) >= admission.MAX_PIPELINED:
            self._end()
            raise RefusedError(admission.MALFORMED)
        if not self._goes_direct():
            super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False
        # A trailer is no header of the request (RFC 9110, 6.5.1): what comes now goes to a list that nobody reads.
        self.headers = []
        self._phase = BODY
        if self._has_body:
            self.due_s = self._guard.now_s + self._guard.limits.body_wait_s
            self.cycle.transport = _HearingOut(self)  # type: ignore[assignment]

    def on_body(self, body: bytes) -> None:
        """Count a part of a body and pass it on."""
        self._unparsed = 0
        self._body_bytes += len(body)
        if self._body_bytes > self._guard.limits.max_body_bytes:
            self._raise(admission.BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Expect nothing but the next request."""
        super().on_message_complete()
        self._unparsed = 0
        self._phase = IDLE
        self.due_s = math.inf

    # Requests that need no task

    def _goes_direct(self) -> bool:
        """Begin a request that is taken without ASGI; its answer comes later, in one write."""
        direct, before = self._direct, self.cycle
        if (
            direct is None
            or self._has_body
            or self._is_upgrade
            or (before is not None and not before.response_complete)
            or self.flow.write_paused
            or self.parser.get_method() != b"GET"
            or not self.parser.should_keep_alive()
            or self.parser.get_http_version() != "1.1"
        ):
            return False
        exchange = Exchange()
        client = self.scope["client"]
        if not direct(self.url, self.headers, client[0] if client else "", functools.partial(self._answer, exchange)):
            return False
        self.cycle = exchange  # type: ignore[assignment]
        return True

    def _answer(self, exchange: Exchange, reply: Reply) -> None:
        """Write the whole answer, unless the client is gone."""
        if exchange.disconnected or self.transport.is_closing():
            return
        exchange.response_complete = True
        head = _HEAD.of(self.server_state.default_headers)
        if exchange.keep_alive:
            self.transport.write(b"".join((reply.start, head, reply.rest)))
        else:
            self.transport.write(b"".join((reply.start, head, b"connection: close\r\n", reply.rest)))
            self.transport.close()
        self.on_response_complete()

    # Callbacks of the answer and of the transport

    def on_response_complete(self) -> None:
        """Begin the next request that waits, or wait for one; the sweep is the timer of an idle connection."""
        self.server_state.total_requests += 1
        limits = self._guard.limits
        if self.transport.is_closing():
            self.due_s = self._guard.now_s + limits.write_wait_s
        elif self.pipeline:
            self.flow.resume_reading()
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        elif self._phase == ENDED:
            self.transport.close()
            self.due_s = self._guard.now_s + limits.write_wait_s
        elif self._phase == BODY:
            self._hear_out()
        else:
            self.flow.resume_reading()
            if self._phase == IDLE:
                self.due_s = self._guard.now_s + limits.keep_alive_s

    def pause_writing(self) -> None:
        """Give a client that does not read its time."""
        self.write_due_s = self._guard.now_s + self._guard.limits.write_wait_s
        super().pause_writing()

    def resume_writing(self) -> None:
        """See that the client reads."""
        self.write_due_s = math.inf
        super().resume_writing()

    # Ends

    def finish(self) -> None:
        """Let the request at work, or else the next one, be the last: its answer says that the connection closes."""
        self._is_last = True
        if self.cycle is not None:
            self.cycle.keep_alive = False

    def expire(self) -> None:
        """End what is overdue; while this side does not read, a client is not late."""
        if self.write_due_s <= self._guard.now_s:
            admission.count("write_deadline")
            self.transport.abort()
        elif self.transport.is_closing() or self._phase >= ENDED:
            self.transport.abort()
        elif self.flow.read_paused:
            self.due_s = self._guard.now_s + self._guard.limits.body_wait_s
        elif self._phase == HEAD:
            self._refuse(admission.HEAD_OVERDUE)
        elif self._phase == BODY:
            self._refuse(admission.BODY_OVERDUE)
        else:
            self.transport.close()
            self.due_s = self._guard.now_s + self._guard.limits.write_wait_s

    def close(self) -> None:
        """Close after an answer, at once when the whole request was read."""
        if self._phase == IDLE:
            self.transport.close()
        else:
            self._hear_out()

    def _hear_out(self) -> None:
        """Say no more, and throw away for a moment what the client still sends: else it might not read the answer."""
        guard = self._guard
        if self._phase == LINGERING:
            return
        if guard.lingering >= guard.limits.max_lingering:
            self._phase = ENDED
            self.transport.close()
            self.due_s = guard.now_s + guard.limits.write_wait_s
            return
        guard.lingering += 1
        self._phase = LINGERING
        self._unparsed = 0
        self.due_s = guard.now_s + admission.LINGER_S
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with a problem and end; what was asked before on this connection is answered first."""
        if self._phase >= ENDED:
            return
        admission.count(refusal.reason)
        cycle = self.cycle
        is_owed = cycle is not None and not cycle.response_complete
        if is_owed and self._phase == BODY and not self.pipeline:
            # It is the request at work whose body is refused: its application is told that the client is gone.
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle.response_started:
                self._phase = ENDED
                self.transport.abort()
                return
        elif is_owed:
            if self._phase == BODY:
                self.pipeline.popleft()
            self._end()
            return
        self.transport.write(refusal.answer())
        self._hear_out()

    def _end(self) -> None:
        """Read no more; the connection closes after the answers that are owed."""
        self._phase = ENDED
        self.due_s = math.inf
        self.cycle.keep_alive = False

    # Judgement of a head

    def _watch(self, name: bytes, value: bytes) -> None:
        """Look at a header that frames the message; the parser has seen to the form of a length."""
        if name == b"host":
            self._hosts += 1
        elif name == b"expect":
            self.expect_100_continue = value.lower() == b"100-continue"
        elif name == b"upgrade":
            self._is_upgrade = True
        elif name == b"content-length":
            length = int(value)
            self._has_body = length > 0
            if length > self._guard.limits.max_body_bytes:
                self._raise(admission.BODY_TOO_LARGE)
        elif name == b"transfer-encoding":
            self._has_body = self._is_chunked = True
            if value.lower() != b"chunked":
                self._raise(admission.MALFORMED)
        elif value.lower() != b"identity":
            self._raise(admission.BODY_CODED)

    def _check_head(self) -> None:
        """Refuse what the parser lets pass (RFC 9112, 3.2 and 6.1): hosts, versions, methods, a body and an upgrade."""
        version = self.parser.get_http_version()
        if version == "1.1":
            is_sound = self._hosts == 1
        else:
            is_sound = version == "1.0" and self._hosts <= 1 and not self._is_chunked
        if not is_sound or self.parser.get_method() not in _METHODS or (self._is_upgrade and self._has_body):
            self._raise(admission.MALFORMED)
        limit = self._guard.limits.max_header_bytes
        if len(self.headers) > admission.MAX_HEADERS or (self._unparsed > limit and self._head_bytes() > limit):
            self._raise(admission.HEAD_TOO_LARGE)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _become_client(self) -> None:
        """Take the client that a trusted proxy names, and count the connection as that client's."""
        assert self.client is not None
        peer = self.client[0]
        address = self._guard.proxies.client_of(peer, self.headers)
        if address == peer:
            return
        self.scope["client"] = (address, 0)
        key = client_key(address)
        if key != self._client_key:
            self._release()
            refusal = self._hold(key)
            if refusal is not None:
                self._raise(refusal)

    def _hold(self, key: str) -> Refusal | None:
        if not self._guard.hold(key):
            return admission.ADDRESS_FULL
        self._client_key = key
        return None

    def _release(self) -> None:
        if self._client_key is not None:
            self._guard.release(self._client_key)
            self._client_key = None

    def _raise(self, refusal: Refusal) -> NoReturn:
        """Stop the parser from within a callback."""
        self._refusal = refusal
        raise RefusedError(refusal)


class _HearingOut:
    """The transport of an answer to a request with a body: it is not torn away from a client that still sends."""

    def __init__(self, connection: GuardedProtocol) -> None:
        self.write = connection.transport.write
        self.is_closing = connection.transport.is_closing
        self.close = connection.close
