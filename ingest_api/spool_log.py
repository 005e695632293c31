"""Owns the form of a spooled frame on disk: a record whose checksum covers all of it, so that a torn one is seen."""

import dataclasses
import struct
import zlib
from collections.abc import Iterator

MAGIC = b"TWS1"
# What the checksum covers beside the payload: its length, shard, flags, number, and when it was kept.
_COVERED = struct.Struct(">IHB16sQ")
_CHECKSUM = struct.Struct(">I")
_START = len(MAGIC) + _CHECKSUM.size
HEAD_BYTES = _START + _COVERED.size
# A record of the broker has at most 1 MiB, and so has what waits for it.
MAX_FRAME_BYTES = 1_048_576
_MAYBE_SENT = 1


@dataclasses.dataclass(frozen=True, slots=True)
class SpooledFrame:
    """A frame that waits for the broker, under the number by which it is counted once.

    `maybe_sent`: it was given to the broker, which has not answered; it is sent again only when the log has it not.
    """

    shard: int
    frame: bytes
    number: bytes
    kept_at_ms: int
    maybe_sent: bool = False


def encode(one: SpooledFrame) -> bytes:
    """The record of a frame: magic, CRC-32 (ISO 3309, as zlib has it), head, payload."""
    flags = _MAYBE_SENT if one.maybe_sent else 0
    covered = _COVERED.pack(len(one.frame), one.shard, flags, one.number, one.kept_at_ms)
    checksum = zlib.crc32(one.frame, zlib.crc32(covered))
    return b"".join((MAGIC, _CHECKSUM.pack(checksum), covered, one.frame))


def decode(content: bytes, start: int) -> tuple[SpooledFrame, int] | None:
    """The record at `start` and where the next begins; None where there is no whole and sound one."""
    body = start + HEAD_BYTES
    if content[start : start + len(MAGIC)] != MAGIC or body > len(content):
        return None
    size, shard, flags, number, kept_at_ms = _COVERED.unpack_from(content, start + _START)
    end = body + size
    if size > MAX_FRAME_BYTES or end > len(content):
        return None
    frame = content[body:end]
    (checksum,) = _CHECKSUM.unpack_from(content, start + len(MAGIC))
    if checksum != zlib.crc32(frame, zlib.crc32(content[start + _START : body])):
        return None
    return SpooledFrame(shard, frame, number, kept_at_ms, bool(flags & _MAYBE_SENT)), end


def records(content: bytes, start: int = 0) -> Iterator[tuple[SpooledFrame, int]]:
    """Each frame with where it ends, up to the last good record; what follows that is never looked at."""
    while (found := decode(content, start)) is not None:
        yield found
        start = found[1]
