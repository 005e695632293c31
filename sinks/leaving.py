"""When work must end: a stop of the process, or a partition that goes to another worker."""

import asyncio

from publishing.runtime.clock import monotonic_s

# Stopping takes at most 10 s in all: what is with a provider gets 6 s for its answer.
GRACE_S = 6.0


class Leave:
    """Asked for once; from then on nothing new begins, and after the grace nothing is waited for."""

    def __init__(self) -> None:
        self._asked = asyncio.Event()
        self._asked_at_s = 0.0

    def ask(self) -> None:
        """Begin to leave."""
        if not self._asked.is_set():
            self._asked_at_s = monotonic_s()
            self._asked.set()

    @property
    def is_asked(self) -> bool:
        """Whether nothing new may begin."""
        return self._asked.is_set()

    @property
    def is_overdue(self) -> bool:
        """Whether nothing may be waited for any more."""
        return self.is_asked and monotonic_s() - self._asked_at_s >= GRACE_S

    async def sleep(self, delay_s: float) -> None:
        """Sleep, or less when leaving is asked for meanwhile."""
        try:
            async with asyncio.timeout(delay_s):
                await self._asked.wait()
        except TimeoutError:
            return
