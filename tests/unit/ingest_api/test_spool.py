"""The spool on disk: what is torn is cut, what is sent is gone, what is full says so and recovers by itself."""

import asyncio
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.spool import Spool
from ingest_api.spool_files import SpoolBusyError, SpoolFiles
from ingest_api.spool_log import MAX_FRAME_BYTES, SpooledFrame, decode, encode, records

pytestmark = pytest.mark.unit

AT_MS = 1_770_000_000_000


def frame(number: int, size: int = 40, shard: int | None = None) -> SpooledFrame:
    """A frame that can be told from others."""
    payload = number.to_bytes(4, "big") * (size // 4)
    return SpooledFrame(number % 4 if shard is None else shard, payload, number.to_bytes(16, "big"), AT_MS + number)


FRAMES = st.builds(
    SpooledFrame,
    shard=st.integers(0, 1023),
    frame=st.binary(max_size=300),
    number=st.binary(min_size=16, max_size=16),
    kept_at_ms=st.integers(0, 2**60),
    maybe_sent=st.booleans(),
)


@given(st.lists(FRAMES, max_size=5), st.binary(max_size=60))
def test_what_is_written_is_read(frames: list[SpooledFrame], rubbish: bytes) -> None:
    """Records come back as they were, whatever follows them."""
    content = b"".join(map(encode, frames))
    assert [one for one, _ in records(content + rubbish)] == frames
    assert not frames or list(records(content))[-1][1] == len(content)


def test_length_alone_is_not_trusted() -> None:
    """A length that the checksum does not cover, or that no frame has, makes no record."""
    good = encode(frame(1, 400))
    longer = bytearray(good + bytes(8))
    longer[8:12] = (408).to_bytes(4, "big")
    assert decode(bytes(longer), 0) is None
    huge = bytearray(good)
    huge[8:12] = (MAX_FRAME_BYTES + 1).to_bytes(4, "big")
    assert decode(bytes(huge), 0) is None
    assert decode(good, 0) == (frame(1, 400), len(good))


def test_sent_segments_are_deleted(tmp_path: Path) -> None:
    """Reading goes on where it was, a segment is deleted once all of it is sent, and a restart begins behind it."""
    files = SpoolFiles(tmp_path, max_bytes=8_192)
    for number in range(60):
        files.append([encode(frame(number))])
    assert len(list(tmp_path.glob("*.spool"))) > 3
    seen: list[SpooledFrame] = []
    found, end = files.read()
    files.advance(end)
    seen += found
    before = files.bytes_used
    files.close()
    files = SpoolFiles(tmp_path, max_bytes=8_192)
    assert files.bytes_used == before
    assert files.waiting.total() == 60 - len(seen)
    while files.bytes_used:
        found, end = files.read()
        seen += found
        files.advance(end)
    assert seen == [frame(number) for number in range(60)]
    assert list(tmp_path.glob("*.spool")) == []
    files.append([encode(frame(99))])
    files.close()
    assert SpoolFiles(tmp_path, max_bytes=8_192).read()[0] == [frame(99)]


def test_a_lost_position_sends_again(tmp_path: Path) -> None:
    """A position that is torn is no position: what is still on disk is read from its beginning."""
    files = SpoolFiles(tmp_path, max_bytes=65_536)
    files.append([encode(frame(1)), encode(frame(2))])
    files.close()
    (tmp_path / "position").write_bytes(b"torn")
    assert SpoolFiles(tmp_path, max_bytes=65_536).read()[0] == [frame(1), frame(2)]


def test_one_owner(tmp_path: Path) -> None:
    """Two processes never share a folder."""
    owner = SpoolFiles(tmp_path, max_bytes=65_536)
    with pytest.raises(SpoolBusyError):
        SpoolFiles(tmp_path, max_bytes=65_536)
    owner.close()
    SpoolFiles(tmp_path, max_bytes=65_536).close()


def test_a_failed_write_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that stops half way is taken back, and the next one begins where it began."""
    files = SpoolFiles(tmp_path, max_bytes=65_536)
    files.append([encode(frame(1))])
    whole = os.pwrite

    def half(descriptor: int, content: bytes, offset: int) -> int:
        whole(descriptor, content[: len(content) // 2], offset)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", half)
    with pytest.raises(OSError, match="No space"):
        files.append([encode(frame(2))])
    monkeypatch.setattr(os, "pwrite", whole)
    files.append([encode(frame(3))])
    assert files.read()[0] == [frame(1), frame(3)]
    files.close()
    assert SpoolFiles(tmp_path, max_bytes=65_536).read()[0] == [frame(1), frame(3)]


@pytest.mark.parametrize("failing", ["fdatasync", "ftruncate"])
def test_a_disk_that_takes_nothing_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    """Where even taking back fails the record is never read, and the next one begins a segment of its own."""
    files = SpoolFiles(tmp_path, max_bytes=65_536)
    files.append([encode(frame(1))])

    def refuse(*_: object) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fdatasync", refuse)
        patched.setattr(os, failing, refuse)
        with pytest.raises(OSError, match="Input"):
            files.append([encode(frame(2))])
    files.append([encode(frame(3))])
    first, end = files.read()
    assert (first, files.read(end)[0]) == ([frame(1)], [frame(3)])


def test_damage_while_open(tmp_path: Path) -> None:
    """A record that has rotted is passed over with the rest of its segment, and the next segment is read."""
    files = SpoolFiles(tmp_path, max_bytes=8_192)
    for number in range(20):
        files.append([encode(frame(number))])
    first = min(tmp_path.glob("*.spool"))
    content = bytearray(first.read_bytes())
    content[10] ^= 1
    first.write_bytes(content)
    found, end = files.read()
    assert found[0].number > frame(2).number
    files.advance(end)
    assert not first.exists()


async def test_many_share_a_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frames that come during one fsync share the next."""
    syncs = 0
    real = os.fdatasync

    def counted(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", counted)
    spool = Spool(tmp_path, max_bytes=1_000_000, clock_ms=lambda: AT_MS)
    await spool.open()
    assert await asyncio.gather(*(spool.submit(frame(number)) for number in range(500))) == [True] * 500
    assert syncs <= 2
    assert (spool.frames, spool.holds(1), spool.oldest_at_ms) == (500, True, AT_MS)
    await spool.close()


async def test_a_full_disk_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that refuses costs the frames at hand their promise, and later ones nothing."""
    spool = Spool(tmp_path, max_bytes=1_000_000, clock_ms=lambda: AT_MS)
    await spool.open()

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refuse)
        assert await spool.submit(frame(1)) is False
    assert (spool.frames, spool.holds(1), spool.bytes_used) == (0, False, 0)
    assert await spool.submit(frame(2)) is True
    assert await spool.some() == [frame(2)]
    spool.under_way([frame(2)])
    assert not spool.holds(2)
    await spool.sent([frame(2)])
    assert (spool.frames, spool.bytes_used, spool.oldest_at_ms) == (0, 0, None)
    await spool.close()


async def test_a_closed_spool_promises_nothing(tmp_path: Path) -> None:
    """Before it is open, and after, a spool keeps nothing and says so."""
    spool = Spool(tmp_path, max_bytes=65_536, clock_ms=lambda: AT_MS)
    assert await spool.submit(frame(1)) is False
    assert not spool.is_open
    await spool.open()
    await spool.close()
    assert await spool.submit(frame(1)) is False


async def test_an_unusable_folder_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that cannot be made is tried again until it can."""
    monkeypatch.setattr("ingest_api.spool.REOPEN_PAUSE_S", 0.01)
    (tmp_path / "in the way").write_text("")
    spool = Spool(tmp_path / "in the way", max_bytes=65_536, clock_ms=lambda: AT_MS)
    opening = asyncio.create_task(spool.open())
    await asyncio.sleep(0.05)
    assert not opening.done()
    (tmp_path / "in the way").unlink()
    await opening
    assert spool.is_open
    await spool.close()


async def test_rotten_frames_hold_up_nothing(tmp_path: Path) -> None:
    """When all that waits has rotted, the spool is empty again, and takes frames."""
    spool = Spool(tmp_path, max_bytes=65_536, clock_ms=lambda: AT_MS)
    await spool.open()
    assert await spool.submit(frame(1)) is True
    path = min(tmp_path.glob("*.spool"))  # noqa: ASYNC240  - a test waits for its own disk
    path.write_bytes(bytes(path.stat().st_size))
    reading = asyncio.create_task(spool.some())
    async with asyncio.timeout(5):
        while spool.frames:  # noqa: ASYNC110  - the spool has no event for being empty
            await asyncio.sleep(0.005)
    assert await spool.submit(frame(2)) is True
    assert await reading == [frame(2)]
    await spool.close()
