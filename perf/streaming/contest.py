"""The engagement app beside other ways to count: each side drains the same events from a full log, alone."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from perf.streaming.mix import frames, lines, made_up_events
from perf.streaming.site import SHARDS, Site, produce, services, site
from perf.streaming.worker import BenchError, count_events, engagement_app
from publishing.local.addresses import ServiceAddresses
from publishing.runtime.clock import now_ms

PEERS = Path(__file__).parents[1] / "peers"
QUIX_FOLDER = Path(__file__).parents[2] / "build" / "peers" / "quix"
HOUR_MS = 3_600_000
PEER_DEADLINE_S = 240.0
# A part of the log warms a side up; what it costs afterwards is what counts.
WARM_UP = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """A way to count: its script, how many events it drains, and what is known of it from an independent measurement.

    `reference_us` is CPU per event as measured once on a quiet machine of two cores (None: nothing to compare with);
    a peer more than 30 % away from it is printed as not believed.
    """

    name: str
    script: str
    events: int
    at_least: float
    aim: float
    reference_us: float | None = None


NAIVE = ("naive Faust: Record and tumbling table", "naive_faust.py", 235.0)
QUIX = ("Quix Streams: tumbling window", "quix_tumbling.py", 34.0)
BY_HAND = ("aiokafka and JSON by hand, the same SQL", "aiokafka_json.py", None)


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU per event, microseconds, of the process under test and of PostgreSQL (0 where none is used)."""

    worker_us: float
    database_us: float
    resident_bytes: int = 0


async def ours(addresses: ServiceAddresses, *, events_per_frame: int, events: int, seed: int) -> Cost:
    """Drain a log of frames with the engagement app; raises BenchError unless every event is counted once."""
    start_ms = now_ms() - HOUR_MS
    of_shards = made_up_events(events, shards=SHARDS, start_ms=start_ms, seed=seed)
    async with site(addresses) as at:
        records = await produce(addresses.kafka, at.topic, frames(of_shards, events_per_frame, now_ms()))
        async with engagement_app(at) as worker:
            first = await worker.until(int(records * WARM_UP))
            last = await worker.until(records)
            resident = worker.resident_bytes()
        counted = await count_events(at)
        if counted != events:
            raise BenchError(f"{counted} of {events} events were counted")
    measured = events * (last.records - first.records) / records
    return Cost(
        (last.worker_s - first.worker_s) / measured * 1e6,
        (last.database_s - first.database_s) / measured * 1e6,
        resident,
    )


async def theirs(addresses: ServiceAddresses, side: Side, *, seed: int) -> Cost:
    """Drain a log of JSON events with a peer; raises BenchError unless it has seen every one."""
    of_shards = made_up_events(side.events, shards=SHARDS, start_ms=now_ms() - HOUR_MS, seed=seed)
    async with site(addresses) as at:
        await produce(addresses.kafka, at.topic, lines(of_shards))
        with tempfile.TemporaryDirectory() as state:
            seen = await _run(at, side, state)
        if side.script == BY_HAND[1] and (counted := await count_events(at)) != side.events:
            raise BenchError(f"{side.name}: {counted} of {side.events} events were counted")
    (first, first_s), (last, last_s) = seen
    return Cost((last_s - first_s) / (last - first) * 1e6, 0.0)


async def _run(at: Site, side: Side, state: str) -> list[tuple[int, float]]:
    arguments = ["--kafka", at.addresses.kafka, "--topic", at.topic, "--partitions", str(SHARDS)]
    arguments += ["--count", str(side.events)]
    if side.script == QUIX[1]:
        command = [str(quix_python()), str(PEERS / side.script), *arguments, "--state", state]
    else:
        command = [sys.executable, "-m", f"perf.peers.{side.script.removesuffix('.py')}", *arguments]
    child = await asyncio.create_subprocess_exec(
        *command,
        env=dict(at.variables),
        cwd=state if side.script == QUIX[1] else PEERS.parents[1],
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PEER_DEADLINE_S):
            return await _seen(child, side)
    except TimeoutError as error:
        raise BenchError(f"{side.name} did not come to its end in {PEER_DEADLINE_S:.0f} s") from error
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def _seen(child: asyncio.subprocess.Process, side: Side) -> list[tuple[int, float]]:
    assert child.stdout is not None
    assert child.stderr is not None
    errors = asyncio.create_task(child.stderr.read())
    seen: list[tuple[int, float]] = []
    async for line in child.stdout:
        words = line.decode(errors="replace").split()
        if words[:1] == ["SEEN"]:
            seen.append((int(words[1]), float(words[2])))
            if seen[-1][0] >= side.events:
                errors.cancel()
                return seen
    raise BenchError(f"{side.name} ended early: {(await errors).decode(errors='replace')[-600:]}")


def quix_python() -> Path:
    """The interpreter of the environment that Quix Streams lives in; the first call makes it from its lock file."""
    python = QUIX_FOLDER / "bin" / "python"
    if not (QUIX_FOLDER / "ready").exists():
        venv.create(QUIX_FOLDER, with_pip=True, clear=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--require-hashes", "-r"]
        subprocess.run([*install, str(PEERS / "quix-requirements.lock")], check=True)  # noqa: S603  - our own lock
        (QUIX_FOLDER / "ready").touch()
    return python


async def contest(
    name: str, *, events_per_frame: int, events: int, sides: Sequence[Side], pairs: int
) -> dict[str, object]:
    """Run the pairs, ours and every peer in turn, and return the bench's JSON object; progress goes to the screen."""
    mine: list[Cost] = []
    beside: dict[str, list[float]] = {side.name: [] for side in sides}
    async with services() as addresses:
        for seed in range(pairs):
            mine.append(await ours(addresses, events_per_frame=events_per_frame, events=events, seed=seed))
            print(f"ours: {mine[-1].worker_us:.2f} us an event, PostgreSQL {mine[-1].database_us:.2f} us", flush=True)
            for side in sides:
                beside[side.name].append((await theirs(addresses, side, seed=seed)).worker_us)
                print(f"{side.name}: {beside[side.name][-1]:.1f} us", flush=True)
    ratios = {
        side.name: sorted(b / o.worker_us for b, o in zip(beside[side.name], mine, strict=True)) for side in sides
    }
    return {
        "bench": name,
        "unit": "us of the worker's CPU an event",
        "ours": round(median([cost.worker_us for cost in mine]), 2),
        "beside": {peer: round(median(found), 1) for peer, found in beside.items()},
        "ratio": {peer: round(median(found), 2) for peer, found in ratios.items()},
        "pairs": pairs,
        "spread": [round(ratios[sides[0].name][0], 2), round(ratios[sides[0].name][-1], 2)],
        "checked": True,
        "at_least": {side.name: side.at_least for side in sides},
        "aim": {side.name: side.aim for side in sides},
        "believed": {side.name: is_believed(side, median(beside[side.name])) for side in sides if side.reference_us},
        "postgresql_us": round(median([cost.database_us for cost in mine]), 2),
        "resident_mb": round(max(cost.resident_bytes for cost in mine) / 1e6),
    }


def is_believed(side: Side, found_us: float) -> bool:
    """Whether a peer costs what an independent measurement says, within 30 %: 300 us beside 235 are believed."""
    assert side.reference_us is not None
    return abs(found_us / side.reference_us - 1) <= 0.3


def median(values: Sequence[float]) -> float:
    """The middle value of an odd number of them."""
    return sorted(values)[len(values) // 2]


def report(found: dict[str, object]) -> int:
    """Print the object as the last line; 1 when a ratio is below what is asked, or PostgreSQL costs over 10 us."""
    print(json.dumps(found))
    ratio, floor = found["ratio"], found["at_least"]
    assert isinstance(ratio, dict)
    assert isinstance(floor, dict)
    return int(any(ratio[peer] < floor[peer] for peer in floor))
