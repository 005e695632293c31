"""R19: the spool is torn or rotten at any byte, and what is read is what was written, up to the last good record."""

import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from ingest_api import spool_files
from ingest_api.spool_files import SpoolFiles
from ingest_api.spool_log import HEAD_BYTES, SpooledFrame, encode, records
from tests.faults.conftest import Figure

pytestmark = pytest.mark.faults

Reader = Callable[[bytes], list[SpooledFrame]]
FRAMES = [SpooledFrame(one % 4, bytes([one]) * (20 + one), bytes([one]) * 16, one, one % 3 == 0) for one in range(1, 6)]
CONTENT = b"".join(map(encode, FRAMES))
ENDS = [sum(len(encode(one)) for one in FRAMES[: count + 1]) for count in range(len(FRAMES))]


def checked(content: bytes) -> list[SpooledFrame]:
    """The product's reader."""
    return [one for one, _ in records(content)]


def by_length_alone(content: bytes) -> list[SpooledFrame]:
    """The mutant: a record is as long as it says, and as good as it says."""
    found, start = [], 0
    while start + HEAD_BYTES <= len(content):
        size, shard, flags, number, at_ms = struct.unpack_from(">IHB16sQ", content, start + 8)
        frame = content[start + HEAD_BYTES : start + HEAD_BYTES + size]
        found.append(SpooledFrame(shard, frame, number, at_ms, bool(flags & 1)))
        start += HEAD_BYTES + size
    return found


def torn(read: Reader) -> list[int]:
    """The bytes at which a truncation makes a reader give anything but the whole records before it."""
    whole = [sum(end <= cut for end in ENDS) for cut in range(len(CONTENT) + 1)]
    return [cut for cut, count in enumerate(whole) if read(CONTENT[:cut]) != FRAMES[:count]]


def rotten(read: Reader) -> list[int]:
    """The bytes at which a flipped bit makes a reader give anything but the records before it."""
    wrong = []
    for place in range(len(CONTENT)):
        content = bytearray(CONTENT)
        content[place] ^= 1 << (place % 8)
        if read(bytes(content)) != FRAMES[: sum(end <= place for end in ENDS)]:
            wrong.append(place)
    return wrong


def test_every_byte(figure: Figure) -> None:
    """A cut at any byte, and a flip of any, end the reading at the last good record."""
    assert torn(checked) == []
    assert rotten(checked) == []
    figure(f"cut and flipped at each of {len(CONTENT)} bytes: always what was whole before")


def test_mutant_length_only() -> None:
    """Framing by length alone gives rubbish in both checks."""
    assert torn(by_length_alone)
    assert rotten(by_length_alone)


def test_opening_cuts(tmp_path: Path) -> None:
    """A torn segment is cut when the spool is opened, and what comes later is read behind what was good."""
    for cut in range(len(CONTENT)):
        folder = tmp_path / str(cut)
        folder.mkdir()
        (folder / f"{1:016d}{spool_files.SUFFIX}").write_bytes(CONTENT[:cut])
        files = SpoolFiles(folder, max_bytes=65_536)
        whole = FRAMES[: sum(end <= cut for end in ENDS)]
        assert files.waiting.total() == len(whole)
        files.append([encode(FRAMES[0])])
        found: list[SpooledFrame] = []
        while len(found) <= len(whole):
            some, end = files.read()
            found += some
            files.advance(end)
        assert found == [*whole, FRAMES[0]]
        files.close()
