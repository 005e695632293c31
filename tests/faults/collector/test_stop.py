"""R23: the collector is asked to end under load, again and again: who waits is answered, nothing is lost or doubled."""

import asyncio
import signal
import time
from subprocess import Popen

import pytest

from tests.faults.collector.conftest import MUTANT, NO_BROKER, Answers, Stage, lost, twice, until

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

ROUNDS = 3
LONGEST_EXIT_S = 10.0
# What was sent so shortly before the signal may not have been read when its connection, idle until then, was closed.
UNREAD_S = 0.3


async def load_and_end(stage: Stage, process: Popen[bytes], answers: Answers) -> dict[int, str]:
    """End it under load; returns those who were waiting and got no answer."""
    stop = asyncio.Event()
    crowd = asyncio.create_task(stage.crowd(answers, stop, readers=32))
    await asyncio.sleep(1)
    before, signalled_s = set(answers.statuses), time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert len(before) > 10
    await asyncio.to_thread(process.wait, LONGEST_EXIT_S)
    stop.set()
    await crowd
    return {number: how for number, how in answers.broken.items() if answers.sent_at_s[number] < signalled_s - UNREAD_S}


async def test_ends_in_order(stage: Stage) -> None:
    """Each end takes at most 10 s and leaves nobody waiting; the log holds each answered hit once."""
    answers = Answers()
    for round_number in range(ROUNDS):
        away = {"TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS": NO_BROKER} if round_number == 1 else {}
        with stage.collector(**away) as process:
            assert await load_and_end(stage, process, answers) == {}
            assert process.returncode in {0, -signal.SIGTERM}  # uvicorn ends in order, then by the signal itself
    with stage.collector():
        await until(stage.is_drained, 15)
    counted = await stage.counted()
    assert (lost(answers, counted), twice(counted)) == (set(), set())


async def test_mutant_exits_at_once(stage: Stage) -> None:
    """An end without order leaves readers without their answer in the same check."""
    with stage.collector(MUTANT, "exit_at_once") as process:
        assert await load_and_end(stage, process, Answers())
