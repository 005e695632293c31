"""Owns the spool's folder: segments that only grow, where reading has come to, and what is deleted once it is sent."""

import contextlib
import fcntl
import os
import struct
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ingest_api.spool_log import MAX_FRAME_BYTES, SpooledFrame, records
from publishing.runtime.logs import get_logger

# A segment is deleted whole: a small one gives its space back early, a large one costs fewer files.
MAX_SEGMENT_BYTES = 8_388_608
SEGMENTS_OF_THE_CAP = 8
READ_BYTES = 4 * MAX_FRAME_BYTES
SUFFIX = ".spool"
_POSITION = struct.Struct(">QQI")

log = get_logger(__name__)


class SpoolBusyError(Exception):
    """The spool's folder belongs to another process: give each replica its own TIDEWIRE_INSTANCE or folder."""


class Position(NamedTuple):
    """A place in the spool: the segment's number and the offset in it, bytes."""

    segment: int = 0
    offset: int = 0


class SpoolFiles:
    """A folder of segments; not safe for threads, all calls block. Opening cuts torn tails."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Open the folder and count what waits in it; raises OSError, or SpoolBusyError when another process has it."""
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._segment_bytes = min(MAX_SEGMENT_BYTES, max_bytes // SEGMENTS_OF_THE_CAP)
        self._lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._marker = os.open(folder / "position", os.O_RDWR | os.O_CREAT, 0o600)
        except BlockingIOError as error:
            os.close(self._lock)
            raise SpoolBusyError from error
        except OSError:
            os.close(self._lock)
            raise
        self._position = self._load_position()
        self._lengths: dict[int, int] = {}
        self._descriptor = -1
        self.waiting: Counter[int] = Counter()
        self._open_segments()
        self._last = max(self._lengths, default=self._position.segment)
        self.bytes_used = sum(self._lengths.values())
        """What the segments take on disk; a plain number, as others read it while a call is under way."""

    def append(self, encoded: Sequence[bytes]) -> None:
        """Write and fsync records in one go; raises OSError, after which none of them will ever be read."""
        content = b"".join(encoded)
        if self._descriptor < 0 or self._lengths[self._last] >= self._segment_bytes:
            self._begin_segment()
        good = self._lengths[self._last]
        try:
            written = 0
            while written < len(content):
                written += os.pwrite(self._descriptor, content[written:], good + written)
            os.fdatasync(self._descriptor)
        except OSError:
            self._abandon_tail(good)
            raise
        self._lengths[self._last] = good + len(content)
        self.bytes_used += len(content)

    def read(self, after: Position | None = None) -> tuple[list[SpooledFrame], Position]:
        """The oldest frames behind a place (by default, the persisted one), of one segment, and where they end."""
        place = after or self._position
        for segment in sorted(self._lengths):
            start = place.offset if segment == place.segment else 0
            size = self._lengths[segment] - start
            if segment < place.segment or size <= 0:
                continue
            with self._path(segment).open("rb") as file:
                file.seek(start)
                content = file.read(min(size, READ_BYTES))
            found = list(records(content))
            if found:
                return [one for one, _ in found], Position(segment, start + found[-1][1])
            log.error("spool.damaged", segment=segment, offset=start, lost_bytes=size)
            self._lengths[segment] = start
        return [], place

    def advance(self, position: Position) -> None:
        """Remember that all before a place is sent, and delete the segments that hold nothing else."""
        self._position = position
        packed = struct.pack(">QQ", *position)
        with contextlib.suppress(OSError):  # a position that is lost only sends again what is counted once
            os.pwrite(self._marker, packed + struct.pack(">I", zlib.crc32(packed)), 0)
            os.fdatasync(self._marker)
        for segment in sorted(self._lengths):
            is_sent = segment < position.segment or self._lengths[segment] <= position.offset
            if segment > position.segment or not is_sent:
                break
            if segment == self._last:
                self._close_segment()
            del self._lengths[segment]
            with contextlib.suppress(OSError):  # it is deleted at the next start
                self._path(segment).unlink()
        self.bytes_used = sum(self._lengths.values())

    def close(self) -> None:
        """Close the files and give up the folder."""
        self._close_segment()
        os.close(self._marker)
        os.close(self._lock)

    def _path(self, segment: int) -> Path:
        return self._folder / f"{segment:016d}{SUFFIX}"

    def _load_position(self) -> Position:
        stored = os.pread(self._marker, _POSITION.size, 0)
        if len(stored) == _POSITION.size:
            segment, offset, checksum = _POSITION.unpack(stored)
            if checksum == zlib.crc32(stored[:-4]):
                return Position(segment, offset)
        return Position()

    def _open_segments(self) -> None:
        """Learn the good length of each segment, cut what follows it, and count the frames that wait."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            segment = int(path.stem)
            if segment < self._position.segment:
                path.unlink()
                continue
            content = path.read_bytes()
            read_before = self._position.offset if segment == self._position.segment else 0
            good = 0
            for one, end in records(content):
                if end > read_before:
                    self.waiting[one.shard] += 1
                good = end
            if good < len(content):
                log.warning("spool.cut", segment=segment, good_bytes=good, cut_bytes=len(content) - good)
                with path.open("r+b") as file:
                    file.truncate(good)
            self._lengths[segment] = good

    def _begin_segment(self) -> None:
        self._close_segment()
        segment = max(self._last, self._position.segment) + 1
        self._descriptor = os.open(self._path(segment), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        self._last = segment
        self._lengths[segment] = 0
        self._sync_folder()

    def _sync_folder(self) -> None:
        """Make the segment's name as durable as what will be in it."""
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _abandon_tail(self, good: int) -> None:
        """Take back what may be half written; where that fails too, the next record begins a segment of its own."""
        try:
            os.ftruncate(self._descriptor, good)
            os.fdatasync(self._descriptor)
        except OSError:
            self._close_segment()
        if not good:
            self._close_segment()
            del self._lengths[self._last]
            self._path(self._last).unlink(missing_ok=True)

    def _close_segment(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
