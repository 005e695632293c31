"""Durable stores of frames for tests: one that keeps, one that is away, one that answers when it is told to."""

import asyncio

from ingest_api.collector import NotDurableError


class KeepingDurable:
    """Keeps every frame in memory, in the order in which they came."""

    def __init__(self) -> None:
        """Start empty."""
        self.frames: list[tuple[int, bytes]] = []

    async def keep(self, shard: int, frame: bytes) -> None:
        """Keep a frame."""
        self.frames.append((shard, frame))


class AwayDurable:
    """Keeps nothing, and remembers what it was asked to keep."""

    def __init__(self, error: Exception | None = None) -> None:
        """Fail with the error given, or as a store that is away."""
        self.refused: list[tuple[int, bytes]] = []
        self._error = error or NotDurableError()

    async def keep(self, shard: int, frame: bytes) -> None:
        """Refuse a frame."""
        self.refused.append((shard, frame))
        raise self._error


class HeldDurable(KeepingDurable):
    """Keeps frames once it is released."""

    def __init__(self) -> None:
        """Start held."""
        super().__init__()
        self.released = asyncio.Event()

    async def keep(self, shard: int, frame: bytes) -> None:
        """Keep a frame when released."""
        await self.released.wait()
        await super().keep(shard, frame)
