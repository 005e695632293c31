"""A broker of frames for tests: it answers at once, late, never, or with an error, and remembers what it took."""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from ingest_api.spool_log import SpooledFrame


class FakeBroker:
    """Takes frames in order; `is_away` leaves what comes unanswered until `come_back`."""

    def __init__(self) -> None:
        """Start open and prompt."""
        self.is_connected = True
        self.is_away = False
        self.takes_while_away = True
        self.error: Exception | None = None
        self.log: list[SpooledFrame] = []
        self.repeats: list[bool] = []
        self.searched: list[bytes] = []
        self._unanswered: list[tuple[SpooledFrame, bool, asyncio.Future[None]]] = []

    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self.is_connected

    async def send(self, one: SpooledFrame, *, is_repeat: bool) -> Awaitable[Any]:
        """Queue a frame."""
        answer: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.error is not None:
            answer.set_exception(self.error)
        elif self.is_away:
            if self.takes_while_away:
                self._take(one, is_repeat=is_repeat)
            self._unanswered.append((one, is_repeat, answer))
        else:
            self._take(one, is_repeat=is_repeat)
            answer.set_result(None)
        return answer

    async def found(self, frames: Sequence[SpooledFrame]) -> set[bytes]:
        """The numbers that the log holds."""
        self.searched += [one.number for one in frames]
        return {one.number for one in self.log} & {one.number for one in frames}

    def come_back(self) -> None:
        """Answer all that was left unanswered, as an idempotent producer's retries are answered."""
        self.is_away = False
        for one, is_repeat, answer in self._unanswered:
            if not self.takes_while_away:
                self._take(one, is_repeat=is_repeat)
            if not answer.done():
                answer.set_result(None)
        self._unanswered.clear()

    def _take(self, one: SpooledFrame, *, is_repeat: bool) -> None:
        self.log.append(one)
        self.repeats.append(is_repeat)
