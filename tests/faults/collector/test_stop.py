"""R23: the collector is asked to end under load, again and again: who waits is answered, nothing is lost or doubled."""

import asyncio
import signal
import time
from subprocess import Popen

import pytest

from tests.faults.collector.conftest import MUTANT, NO_BROKER, Answers, Stage, lost, twice, until
from tests.faults.conftest import Figure

pytestmark = [pytest.mark.faults, pytest.mark.long, pytest.mark.timeout(300)]

ROUNDS = 3
LONGEST_EXIT_S = 10.0


async def load_and_end(stage: Stage, process: Popen[bytes]) -> tuple[Answers, float]:
    """End it under load; returns what readers were answered, and how long the end took, seconds."""
    answers, stop = Answers(), asyncio.Event()
    crowd = asyncio.create_task(stage.crowd(answers, stop, readers=32))
    await asyncio.sleep(1)
    assert len(answers.statuses) > 10
    signalled_s = time.monotonic()
    process.send_signal(signal.SIGTERM)
    await asyncio.to_thread(process.wait, LONGEST_EXIT_S)
    took_s = time.monotonic() - signalled_s
    stop.set()
    await crowd
    return answers, took_s


async def test_ends_in_order(stage: Stage, figure: Figure) -> None:
    """Each end takes at most 10 s and leaves nobody waiting; the log holds each answered hit once."""
    rounds: list[Answers] = []
    ends_s: list[float] = []
    for round_number in range(ROUNDS):
        away = {"TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS": NO_BROKER} if round_number == 1 else {}
        with stage.collector(**away) as process:
            answers, took_s = await load_and_end(stage, process)
            assert answers.broken == {}
            assert process.returncode in {0, -signal.SIGTERM}  # uvicorn ends in order, then by the signal itself
        rounds.append(answers)
        ends_s.append(took_s)
    with stage.collector():
        await until(stage.is_drained, 15)
    counted = await stage.counted()
    assert [(lost(answers, counted), twice(counted)) for answers in rounds] == [(set(), set())] * ROUNDS
    answered = sum(len(answers.numbers()) for answers in rounds)
    figure(f"ended {ROUNDS} times under load, {answered} hits answered, 0 broken; the longest end {max(ends_s):.1f} s")


async def test_mutant_exits_at_once(stage: Stage) -> None:
    """An end without order leaves readers without their answer in the same check."""
    with stage.collector(MUTANT, "exit_at_once") as process:
        answers, _ = await load_and_end(stage, process)
    assert answers.broken
