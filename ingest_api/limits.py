"""Owns how much of a body is read: never more than its limit, nothing before it is wanted, no JSON too deep."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import numpy as np

Receive = Callable[[], Awaitable[Any]]

MAX_JSON_BYTES = 2_000_000
MAX_LINES_BYTES = 16_000_000
# The deepest body that the API knows has 5 levels; a client's own nesting of attributes has room.
MAX_JSON_DEPTH = 64

_QUOTE = ord('"')
# How much a byte of JSON changes the depth.
_STEPS = np.zeros(256, np.int32)
_STEPS[[ord("["), ord("{")]] = 1
_STEPS[[ord("]"), ord("}")]] = -1
# Bytes that are looked at in one go: the arrays of a slice stay in the processor's cache.
_SLICE_BYTES = 65_536


class BodyTooLargeError(Exception):
    """The body is above its limit; answer 413 and read no more of it."""

    def __init__(self, max_bytes: int) -> None:
        """Keep the limit in bytes."""
        super().__init__(max_bytes)
        self.max_bytes = max_bytes


class TooDeepError(Exception):
    """The JSON is nested deeper than its limit; answer 400 and do not decode it."""

    def __init__(self, max_depth: int) -> None:
        """Keep the limit in levels."""
        super().__init__(max_depth)
        self.max_depth = max_depth


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


def check_depth(raw: bytes, *, max_depth: int = MAX_JSON_DEPTH) -> None:
    """Refuse JSON of more levels than that before it is decoded, in time linear to its length; raises TooDeepError.

    Brackets in strings do not count. What is no JSON may pass: that is for its decoder to find.
    """
    if raw.count(b"[") + raw.count(b"{") <= max_depth:
        return
    if b"\\" in raw:
        raw = raw.replace(b"\\\\", b"").replace(b'\\"', b"")
    depth = quotes = 0
    for place in range(0, len(raw), _SLICE_BYTES):
        part = np.frombuffer(raw, np.uint8, min(_SLICE_BYTES, len(raw) - place), place)
        parity = np.cumsum(part == _QUOTE, dtype=np.int32) + quotes
        depths = np.cumsum(_STEPS[part] * ((parity & 1) == 0)) + depth
        if depths.max() > max_depth:
            raise TooDeepError(max_depth)
        depth, quotes = int(depths[-1]), int(parity[-1]) & 1
