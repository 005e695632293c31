"""One HTTP exchange as values: the request a simulator read, its answer, and a provider's refusal."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qsl

import msgspec

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = tuple[tuple[str, str], ...]


class BodyTooLargeError(Exception):
    """The request's body is larger than the simulator takes; send less."""


class ClientGoneError(Exception):
    """The client left before its request was whole; nothing can be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request with its body read whole; header names are lower case."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back on the wire."""

    status: int
    body: bytes = b""
    headers: Headers = ()

    @classmethod
    def json(cls, status: int, value: Any, headers: Headers = ()) -> Self:
        """Return a JSON answer."""
        return cls(
            status=status,
            body=msgspec.json.encode(value),
            headers=(("content-type", "application/json"), *headers),
        )

    @classmethod
    def text(cls, status: int, value: str, headers: Headers = ()) -> Self:
        """Return a text/plain answer."""
        return cls(
            status=status,
            body=value.encode(),
            headers=(("content-type", "text/plain; charset=utf-8"), *headers),
        )

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a provider would not take a payload: its status, its own error code, and where the fault is."""

    status: int = 400
    error: str
    field: str = ""
    message: str = ""


def parse_json(body: bytes) -> Any:
    """Return the decoded JSON document; raises ValueError, which a simulator answers as the provider does."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(str(error)) from error


async def read_request(scope: Scope, receive: Receive, *, max_body_bytes: int) -> Request:
    """Read one request whole.

    Raises BodyTooLargeError beyond `max_body_bytes` (the caller answers 413) and ClientGoneError on a disconnect
    (the caller returns).
    """
    chunks: list[bytes] = []
    size = 0
    while True:
        event = await receive()
        if event["type"] != "http.request":
            raise ClientGoneError
        chunk = event.get("body", b"")
        size += len(chunk)
        if size > max_body_bytes:
            raise BodyTooLargeError
        chunks.append(chunk)
        if not event.get("more_body", False):
            break
    return Request(
        method=scope["method"],
        path=scope["path"],
        query=dict(parse_qsl(scope["query_string"].decode("latin-1"))),
        headers={name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
        body=b"".join(chunks),
    )


async def send_answer(send: Send, answer: Answer, *, closes: bool = False) -> None:
    """Write one answer; `closes` ends the connection after it."""
    headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    if closes:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if answer.status == 204 else answer.body})
