"""Owns how much of a body is read: never more than its limit, and nothing before it is wanted."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Receive = Callable[[], Awaitable[Any]]

MAX_JSON_BYTES = 2_000_000
MAX_LINES_BYTES = 16_000_000


class BodyTooLargeError(Exception):
    """The body is above its limit; answer 413 and read no more of it."""

    def __init__(self, max_bytes: int) -> None:
        """Keep the limit in bytes."""
        super().__init__(max_bytes)
        self.max_bytes = max_bytes


class ClientGoneError(Exception):
    """The client left before its body was complete; there is nobody to answer."""


async def read_body(receive: Receive, headers: Mapping[bytes, bytes], *, max_bytes: int) -> bytes:
    """Read a whole body; raises BodyTooLargeError by its announced length, or as soon as it has grown too large."""
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced[:20]) > max_bytes:
        raise BodyTooLargeError(max_bytes)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        part = message.get("body", b"")
        size += len(part)
        if size > max_bytes:
            raise BodyTooLargeError(max_bytes)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)


def replayed(body: bytes, receive: Receive) -> Receive:
    """Return a receive that gives the body that was read, and then whatever the client does."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Any:
        return pending.pop() if pending else await receive()

    return next_message
