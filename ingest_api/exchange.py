"""Owns what uvicorn's protocol must know of a request that is at work without ASGI."""

from collections.abc import Sequence
from typing import Final


class _Nobody:
    """The event of a request whose application waits for nothing."""

    def set(self) -> None:
        """Wake nobody."""


_NOBODY: Final = _Nobody()


class Exchange:
    """Stands where uvicorn keeps its cycle of request and response, with the attributes that connections look at."""

    __slots__ = ("disconnected", "keep_alive", "more_body", "response_complete")

    message_event = _NOBODY
    response_started = False

    def __init__(self) -> None:
        """Begin a request that has no body."""
        self.disconnected = False
        self.keep_alive = True
        self.more_body = False
        self.response_complete = False


class DefaultHead:
    """The headers that the server gives every answer, encoded when they change: once a second, for the date."""

    def __init__(self) -> None:
        """Start with none."""
        self._headers: Sequence[tuple[bytes, bytes]] = ()
        self._encoded = b""

    def of(self, headers: Sequence[tuple[bytes, bytes]]) -> bytes:
        """Return the lines of these headers."""
        if headers is not self._headers:
            self._headers = headers
            self._encoded = b"".join([b"%b: %b\r\n" % one for one in headers])
        return self._encoded
