"""R5: the collector is killed under load, and whoever was answered is in the log or on disk, once."""

import asyncio
import signal
from subprocess import Popen

import pytest

from tests.faults.collector.conftest import MUTANT, NO_BROKER, Answers, Stage, lost, twice, until
from tests.faults.conftest import Figure

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

LOAD_S = 1.5


async def load_and_kill(stage: Stage, process: Popen[bytes]) -> Answers:
    """Load it for a moment, kill it while readers wait, and prove that it was killed."""
    answers, stop = Answers(), asyncio.Event()
    crowd = asyncio.create_task(stage.crowd(answers, stop))
    await asyncio.sleep(LOAD_S)
    process.send_signal(signal.SIGKILL)
    assert await asyncio.to_thread(process.wait, 5) == -signal.SIGKILL
    stop.set()
    await crowd
    assert len(answers.numbers()) > 20
    assert answers.broken, "nobody was waiting when it was killed"
    return answers


async def restart(stage: Stage) -> list[int]:
    """Start it again where anything is on disk, let it send that, and return what the log holds."""
    if stage.bytes_on_disk():
        with stage.collector():
            await until(stage.is_drained, 15)
    return await stage.counted()


async def test_with_the_broker(stage: Stage, figure: Figure) -> None:
    """Killed while the broker takes hits: each that was answered is in the log once."""
    with stage.collector() as process:
        answers = await load_and_kill(stage, process)
    counted = await restart(stage)
    assert (lost(answers, counted), twice(counted)) == (set(), set())
    figure(f"{len(answers.numbers())} answered before the kill, {len(answers.broken)} at work, 0 lost, 0 twice")


@pytest.mark.long
async def test_with_the_spool(stage: Stage, figure: Figure) -> None:
    """Killed while the broker is away: each that was answered is on disk, and in the log once after the restart."""
    with stage.collector(TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS=NO_BROKER) as process:
        answers = await load_and_kill(stage, process)
    assert await stage.counted() == []
    counted = await restart(stage)
    assert (lost(answers, counted), twice(counted)) == (set(), set())
    figure(f"{len(answers.numbers())} answered from the spool before the kill, all sent after the restart")


async def test_mutant_answers_first(stage: Stage) -> None:
    """An answer before the hand-off loses hits in the same check."""
    with stage.collector(MUTANT, "answer_first") as process:
        answers = await load_and_kill(stage, process)
    assert lost(answers, await restart(stage))
