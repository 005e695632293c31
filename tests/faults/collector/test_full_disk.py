"""R18: the disk under the spool is full: nobody is promised anything, it recovers by itself, and no tail is corrupt."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ingest_api.spool_files import SpoolFiles
from ingest_api.spool_log import SpooledFrame, encode
from publishing.domain.links import Purpose
from schemas.frames import decode_frame
from tests.faults.collector.conftest import NO_BROKER, Answers, Stage, until
from tests.faults.collector.test_torn import by_length_alone
from tests.faults.conftest import Figure

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

DISK = "1m"
LARGER_DISK = "8m"


def mount(*arguments: str) -> None:
    """Call mount; raises CalledProcessError where that is not allowed."""
    subprocess.run(["/bin/mount", *arguments], check=True, capture_output=True)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB; the test is skipped where none may be mounted."""
    folder = tmp_path / "spool"
    folder.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount a disk of 1 MiB")
    try:
        mount("-t", "tmpfs", "-o", f"size={DISK}", "none", str(folder))
    except subprocess.CalledProcessError as refused:
        pytest.skip(f"no disk of 1 MiB may be mounted here: {refused.stderr.decode().strip()}")
    yield folder
    subprocess.run(["/bin/umount", "-l", str(folder)], check=True)


async def fill(stage: Stage, answers: Answers) -> None:
    """Readers until one of them is refused, at most 60 s."""
    stop = asyncio.Event()
    crowd = asyncio.create_task(stage.crowd(answers, stop, readers=8))

    async def is_refused() -> bool:
        return bool(answers.numbers(503))

    await until(is_refused, 60)
    stop.set()
    await crowd


@pytest.mark.long
async def test_full(stage: Stage, small_disk: Path, figure: Figure) -> None:
    """With the disk full 503 is answered and pixels are dropped by count; with room again, 200, and all is whole."""
    (small_disk / "ballast").write_bytes(bytes(950_000))
    answers = Answers()
    with stage.collector(TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS=NO_BROKER) as process:
        await fill(stage, answers)
        assert "No space left on device" in stage.log.read_text(encoding="utf-8")
        assert answers.retry_after == {"5"}
        async with httpx.AsyncClient(base_url=stage.url, timeout=5) as client:
            for number in range(900_000_001, 900_000_200):
                assert (await client.get(stage.path(number, Purpose.OPEN))).status_code == httpx.codes.OK
                if await stage.metric('tidewire_hits_total{kind="opened",outcome="dropped"}'):
                    break
            else:
                pytest.fail("no pixel was counted as dropped")
        mount("-o", f"remount,size={LARGER_DISK}", str(small_disk))
        again, stop = Answers(), asyncio.Event()
        crowd = asyncio.create_task(stage.crowd(again, stop, readers=4))
        await asyncio.sleep(1)
        stop.set()
        await crowd
        assert set(again.statuses.values()) == {200}
        process.kill()
        process.wait()
    files = SpoolFiles(stage.spool / "a", max_bytes=1_000_000)
    kept: list[int] = []
    while (found := files.read())[0]:
        kept += [number for one in found[0] for number in decode_frame(one.frame).events["destination"].tolist()]
        files.advance(found[1])
    files.close()
    assert answers.numbers() | again.numbers() <= set(kept)
    assert "spool.cut" not in stage.log.read_text(encoding="utf-8")
    figure(f"{len(answers.numbers())} hits kept on a disk of 1 MiB, then 503; with room again 200; all read back whole")


def test_mutant_no_checksum(tmp_path: Path) -> None:
    """Half a record with the next one behind it is rubbish to a reader of lengths, and to ours the end."""
    first, second = (SpooledFrame(1, bytes([one]) * 50, bytes([one]) * 16, one) for one in (1, 2))
    half_written = encode(first) + encode(second)[:60] + encode(second)
    assert by_length_alone(half_written) not in ([first], [first, second])
    (tmp_path / "0000000000000001.spool").write_bytes(half_written)
    assert SpoolFiles(tmp_path, max_bytes=65_536).read()[0] == [first]
