"""Owns what every request of the management API passes first: correlation, token, body limit, metrics, last errors."""

import asyncio
import io
import re
from typing import Any

import structlog

from ingest_api.auth import PREFIX, Principal, TokenRules, authenticate, authorize, is_protected
from ingest_api.dashboard.session import credential
from ingest_api.front import Asgi, Receive, Scope, Send
from ingest_api.limits import (
    MAX_JSON_BYTES,
    MAX_LINES_BYTES,
    BodyTooLargeError,
    ClientGoneError,
    TooDeepError,
    check_depth,
    read_body,
    replayed,
)
from ingest_api.problems import MEDIA_TYPE, ProblemError, problem_of
from publishing.runtime import metrics
from publishing.runtime.clock import monotonic_s
from publishing.runtime.correlation import accept_traceparent
from publishing.stores.audit import Signature

PRINCIPAL = "tidewire.principal"
REQUEST_ID = "tidewire.request_id"
TRACEPARENT = "tidewire.traceparent"

# A database that hangs costs a reader no more than this, and a writer no more than a bulk of 10,000 lines may take.
READ_WAIT_S = 1.5
WRITE_WAIT_S = 30.0

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}", re.ASCII)
# Routes that take many lines in one call.
_LINES_PATHS = frozenset({f"{PREFIX}/subscribers/bulk", f"{PREFIX}/content"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Edge:
    """Guards an ASGI application: what is refused here has read no body and touched no store."""

    def __init__(self, rest: Asgi, rules: TokenRules) -> None:
        """Keep what comes behind, and what tokens must fulfil."""
        self._rest = rest
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        if scope["type"] != "http":
            await self._rest(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        _correlate(scope, headers)
        answer = _Answer(send, scope[REQUEST_ID])
        started_s = monotonic_s()
        try:
            await self._guarded(scope, headers, receive, answer)
        except ClientGoneError:
            return
        except Exception as error:  # noqa: BLE001  - the last net: nothing leaves but a problem document
            await answer.problem(problem_of(error))
        finally:
            structlog.contextvars.unbind_contextvars("request_id")
            _measure(scope, answer.status, monotonic_s() - started_s)

    async def _guarded(self, scope: Scope, headers: dict[bytes, bytes], receive: Receive, answer: "_Answer") -> None:
        path: str = scope["path"]
        if is_protected(path):
            principal = authenticate(self._rules, credential(headers, path))
            authorize(principal, method=scope["method"], path=path)
            scope[PRINCIPAL] = principal
        if headers.get(b"content-encoding", b"identity") != b"identity":
            raise ProblemError(415, "A body must not be compressed.")
        max_bytes = MAX_LINES_BYTES if path in _LINES_PATHS else MAX_JSON_BYTES
        try:
            body = await read_body(receive, headers, max_bytes=max_bytes)
        except BodyTooLargeError as error:
            detail = f"A body here has at most {error.max_bytes} bytes."
            raise ProblemError(413, detail, headers={"Connection": "close"}) from error
        try:
            for document in io.BytesIO(body) if _is_lines(path, body) else (body,):
                check_depth(document)
        except TooDeepError as error:
            raise ProblemError(400, f"JSON here has at most {error.max_depth} levels.") from error
        try:
            async with asyncio.timeout(
                READ_WAIT_S if scope["method"] in {"GET", "HEAD"} else WRITE_WAIT_S
            ) as answer.wait:
                await self._rest(scope, replayed(body, receive), answer)
        except Exception as error:
            if answer.is_late:
                raise TimeoutError from error
            raise
        if answer.is_late:
            raise TimeoutError


class _Answer:
    """Sends what the application answers, with the request's id, and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id.encode()
        self.status = 0
        self.wait: asyncio.Timeout | None = None

    @property
    def is_late(self) -> bool:
        """Whether the time was over before the answer began: what the application makes of that is not answered."""
        return self.wait is not None and self.wait.expired()

    async def __call__(self, message: Any) -> None:
        if self.is_late:
            return
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if self.wait is not None:
                # Whoever answers has answered in time: what streams is not cut off.
                self.wait.reschedule(None)
            message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", self._request_id)]}
        await self._send(message)

    async def problem(self, problem: ProblemError) -> None:
        """Answer with a problem, unless an answer has begun."""
        if self.status:
            return
        self.wait = None
        body = problem.body()
        headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
        headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
        await self({"type": "http.response.start", "status": problem.status, "headers": headers})
        await self({"type": "http.response.body", "body": body})


def _is_lines(path: str, body: bytes) -> bool:
    """Whether each line is a document of its own, and a faulty one must not spoil its neighbours."""
    return path in _LINES_PATHS and not body.lstrip(b" \t\r\n").startswith(b"[")


def signature_of(scope: Any) -> Signature:
    """Return who asks for the write at hand, and in which request."""
    principal: Principal = scope[PRINCIPAL]
    return Signature(
        actor=principal.subject,
        role=principal.role_name,
        request_id=scope[REQUEST_ID],
        traceparent=scope[TRACEPARENT],
    )


def _correlate(scope: Scope, headers: dict[bytes, bytes]) -> None:
    """Go on with the caller's trace and request id, or begin new ones."""
    traceparent = accept_traceparent(headers.get(b"traceparent", b"").decode("latin-1"))
    named = headers.get(b"x-request-id", b"").decode("latin-1")
    scope[TRACEPARENT] = traceparent
    scope[REQUEST_ID] = named if _REQUEST_ID.fullmatch(named) else traceparent.split("-")[1]
    structlog.contextvars.bind_contextvars(request_id=scope[REQUEST_ID])


def _measure(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "none")
    method = scope["method"] if scope["method"] in _METHODS else "other"
    metrics.REQUESTS.labels(route, method, str(status)).inc()
    metrics.REQUEST_SECONDS.labels(route).observe(seconds)
