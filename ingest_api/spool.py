"""Owns the frames that wait for the broker: kept with one fsync for all that came meanwhile, read back in order."""

import asyncio
import functools
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

from ingest_api.spool_files import Position, SpoolBusyError, SpoolFiles
from ingest_api.spool_log import SpooledFrame, encode
from publishing.runtime import metrics
from publishing.runtime.logs import get_logger

REOPEN_PAUSE_S = 2.0

Returned = TypeVar("Returned")

log = get_logger(__name__)


class _Waiting(NamedTuple):
    """A frame on its way to the disk, and who waits for it."""

    shard: int
    encoded: bytes
    kept: asyncio.Future[bool]


class Spool:
    """A bounded log of frames on disk; every blocking call is made in one thread of its own."""

    def __init__(self, folder: Path, *, max_bytes: int, clock_ms: Callable[[], int]) -> None:
        """Keep where it is; `max_bytes` bounds what is on disk and on its way there."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock_ms = clock_ms
        self._files: SpoolFiles | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="spool")
        self._pending: list[_Waiting] = []
        self._pending_bytes = 0
        self._committing: asyncio.Task[None] | None = None
        self._commits = 0
        self._waiting: Counter[int] = Counter()
        self._unread: Counter[int] = Counter()
        self._has_frames = asyncio.Event()
        self._end = Position()
        self.oldest_at_ms: int | None = None
        self._has_refused = False

    async def open(self) -> None:
        """Open the folder, again and again while the disk refuses; raises SpoolBusyError when it is another's."""
        while self._files is None:
            try:
                files = await self._in_thread(lambda: SpoolFiles(self._folder, max_bytes=self._max_bytes))
            except SpoolBusyError:
                raise
            except OSError as error:
                log.warning("spool.closed", error=error.strerror or type(error).__name__)
                await asyncio.sleep(REOPEN_PAUSE_S)
                continue
            self._files, self._has_refused = files, False
            self._waiting += files.waiting
            self._unread += files.waiting
            self._noted()

    @property
    def frames(self) -> int:
        """How many frames wait."""
        return self._waiting.total()

    @property
    def bytes_used(self) -> int:
        """What waits, on disk or on its way there."""
        return self._pending_bytes + (self._files.bytes_used if self._files else 0)

    @property
    def is_open(self) -> bool:
        """Whether frames can be kept, as far as the cap and the disk have said of the last one."""
        return self._files is not None and not self._has_refused

    @property
    def unsent(self) -> int:
        """How many frames wait that are not yet on their way to the broker."""
        return self._unread.total()

    def holds(self, shard: int) -> bool:
        """Whether frames of a shard are not yet on their way, behind which its next ones must queue."""
        return self._unread[shard] > 0

    def submit(self, one: SpooledFrame) -> asyncio.Future[bool]:
        """Queue a frame at once; the answer is True when it is on disk, False when it is not and never will be."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        encoded = encode(one)
        if self._files is None or self.bytes_used + len(encoded) > self._max_bytes:
            self._has_refused = True
            kept.set_result(False)
            return kept
        self._pending.append(_Waiting(one.shard, encoded, kept))
        self._pending_bytes += len(encoded)
        self._waiting[one.shard] += 1
        self._unread[one.shard] += 1
        if self.oldest_at_ms is None:
            self.oldest_at_ms = one.kept_at_ms
        if self._committing is None:
            self._committing = asyncio.create_task(self._commit(self._files))
        return kept

    async def some(self) -> list[SpooledFrame]:
        """Wait for frames on disk and return the oldest ones, in order; they wait on until `sent`."""
        while True:
            await self._has_frames.wait()
            files = self._files
            assert files is not None
            commits = self._commits
            found, self._end = await self._in_thread(files.read)
            if found:
                self.oldest_at_ms = found[0].kept_at_ms
                return found
            if self._committing is None and self._commits == commits:
                self._waiting.clear()  # what was damaged waits for nothing
                self._unread.clear()
                self._noted()
            await asyncio.sleep(0)

    def under_way(self, frames: list[SpooledFrame]) -> None:
        """Let the next frames of these shards follow: the producer keeps them in the order in which it got them."""
        self._unread.subtract(one.shard for one in frames)

    async def sent(self, frames: list[SpooledFrame]) -> None:
        """Let go of the frames that `some` returned."""
        files = self._files
        assert files is not None
        await self._in_thread(lambda: files.advance(self._end))
        self._waiting.subtract(one.shard for one in frames)
        self._has_refused = False
        self._noted()

    async def close(self) -> None:
        """Finish what is on its way to the disk, then close the files; what waits is read at the next start."""
        if self._committing is not None:
            await self._committing
        if self._files is not None:
            files, self._files = self._files, None
            await self._in_thread(files.close)
        self._thread.shutdown(wait=False)

    async def _commit(self, files: SpoolFiles) -> None:
        """Write until nothing is pending: all that came during one fsync shares the next."""
        while self._pending:
            group, self._pending = self._pending, []
            encoded = [one.encoded for one in group]
            try:
                await self._in_thread(functools.partial(files.append, encoded))
                is_kept, self._has_refused = True, False
            except OSError as error:
                log.warning("spool.refused", error=error.strerror or type(error).__name__, frames=len(group))
                self._waiting.subtract(one.shard for one in group)
                self._unread.subtract(one.shard for one in group)
                is_kept, self._has_refused = False, True
            self._commits += 1
            self._pending_bytes -= sum(map(len, encoded))
            self._noted()
            for one in group:
                if not one.kept.done():
                    one.kept.set_result(is_kept)
        self._committing = None

    async def _in_thread(self, call: Callable[[], Returned]) -> Returned:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _noted(self) -> None:
        """Bring event and metrics in step with what waits."""
        frames = self.frames
        if frames:
            self._has_frames.set()
        else:
            self._has_frames.clear()
            self.oldest_at_ms = None
        metrics.SPOOL_FRAMES.set(frames)
        metrics.SPOOL_BYTES.set(self.bytes_used)
        oldest_ms = self.oldest_at_ms
        metrics.SPOOL_OLDEST_SECONDS.set(0 if oldest_ms is None else max(0, self._clock_ms() - oldest_ms) / 1000)
