"""The log of what a simulator accepted: rows in memory and raw messages in a ring file, both bounded."""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import msgspec

# A row of one mail is about 400 bytes: 256 MiB keep more than 600,000 of them.
LOG_MAX_BYTES = 256 * 1024 * 1024
# 100,000 mails of 20 KB in bulk calls of 50 share their template; sent raw they need this much.
RAW_MAX_BYTES = 4 * 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Row:
    seq: int
    line: bytes
    message_id: str | None


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    size: int
    entry: int


@dataclass(slots=True)
class RawRing:
    """Bytes kept in an unlinked file, the oldest overwritten first."""

    max_bytes: int = RAW_MAX_BYTES
    written: int = 0
    _file: Any = field(default_factory=tempfile.TemporaryFile)

    def put(self, content: bytes) -> int:
        """Keep the bytes and return where they start; content larger than the ring is never found again."""
        position = self.written % self.max_bytes
        if position + len(content) > self.max_bytes:  # no wrapping inside one message
            self.written += self.max_bytes - position
        start = self.written
        self.written += len(content)
        if len(content) <= self.max_bytes:
            os.pwrite(self._file.fileno(), content, start % self.max_bytes)
        return start

    def get(self, start: int, size: int) -> bytes | None:
        """Return the bytes kept at `start`, or None once they are overwritten."""
        if self.written - start > self.max_bytes:
            return None
        return os.pread(self._file.fileno(), size, start % self.max_bytes)

    def close(self) -> None:
        """Free the file."""
        self._file.close()


@dataclass(slots=True, kw_only=True)
class Journal:
    """Accepted messages by `seq`, a gapless number from 1 that `clear` does not reset."""

    log_max_bytes: int = LOG_MAX_BYTES
    raw: RawRing = field(default_factory=RawRing)
    seq: int = 0
    dropped: int = 0
    _rows: deque[_Row] = field(default_factory=deque)
    _bytes: int = 0
    _places: dict[str, _Place] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self._rows)

    def append(self, fields: Mapping[str, Any], *, now_ms: int, message_id: str | None = None) -> int:
        """Add one accepted message and return its seq; the oldest rows give way when the log is full."""
        self.seq += 1
        head = {"seq": self.seq, "at": now_ms}
        named = {} if message_id is None else {"message_id": message_id}
        line = msgspec.json.encode({**head, **named, **fields}) + b"\n"
        self._rows.append(_Row(self.seq, line, message_id))
        self._bytes += len(line)
        while self._bytes > self.log_max_bytes and len(self._rows) > 1:
            self._drop()
        return self.seq

    def keep(self, content: bytes) -> tuple[int, int]:
        """Keep the raw bytes of one call and return their place for `locate`."""
        return self.raw.put(content), len(content)

    def locate(self, message_id: str, place: tuple[int, int], *, entry: int = 0) -> None:
        """Say that a message is the entry with this index of the call kept at `place`."""
        self._places[message_id] = _Place(*place, entry)

    def find(self, message_id: str) -> tuple[bytes | None, int] | None:
        """Return (raw call, entry), (None, entry) when its bytes are overwritten, or None for an unknown id."""
        place = self._places.get(message_id)
        if place is None:
            return None
        return self.raw.get(place.start, place.size), place.entry

    def lines(self, *, since: int = 0, limit: int | None = None) -> Iterator[bytes]:
        """Yield the NDJSON rows with seq > `since`, in order, at most `limit`."""
        first = self._rows[0].seq if self._rows else 0
        rows = islice(self._rows, max(since + 1 - first, 0), None)
        for row in islice(rows, limit):
            yield row.line

    def clear(self) -> None:
        """Forget all messages; the numbering goes on."""
        self._rows.clear()
        self._places.clear()
        self._bytes = 0
        self.dropped = 0

    def _drop(self) -> None:
        row = self._rows.popleft()
        self._bytes -= len(row.line)
        self.dropped += 1
        if row.message_id is not None:
            self._places.pop(row.message_id, None)
