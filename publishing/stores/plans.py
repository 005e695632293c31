"""Owns stored plans: what a shard decided for a run, and the frames that are produced from it and from nothing else."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

from publishing.domain.planning import Plan
from publishing.runtime.statements import load_statements
from publishing.stores.audience import array_text
from publishing.stores.offsets import Place, Pool

SQL = load_statements(__file__)

RUN_ATTEMPTS = 3
"""A run that another transaction makes at this moment is seen by the next statement."""


@dataclasses.dataclass(frozen=True, slots=True)
class Encoded:
    """A plan with the frames as they will be produced, one for each of plan.frames, and where each goes."""

    run_id: int
    plan: Plan
    frames: Sequence[bytes]
    topics: Sequence[str]
    partition: int


@dataclasses.dataclass(frozen=True, slots=True)
class Unsent:
    """A stored frame that nobody has noted as produced."""

    run_id: int
    chunk: int
    topic: str
    partition: int
    frame: bytes


@dataclasses.dataclass(frozen=True, slots=True)
class ContentRun:
    """The run of a publication over a content batch."""

    id: int
    deadline_at: dt.datetime | None


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """A step of one consumer over one place: from the offset expected to the one after it."""

    consumer: str
    place: Place
    expected: int
    after: int


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Whether the fence held, and which runs are planned by this very statement."""

    is_held: bool
    runs: frozenset[int]


class RunRaceError(Exception):
    """Another transaction is making the same run; ask again."""


async def store(
    pool: Pool, step: Step, plans: Sequence[Encoded], rings: Mapping[int, tuple[int, ...]] | None = None
) -> Written:
    """Advance the fence and store the plans and the rings of what is sent, in one statement."""
    rings = rings or {}
    frames = [
        (one.run_id, frame.chunk, frame.channel_id, topic, one.partition, array_text(frame.destinations), encoded)
        for one in plans
        for frame, topic, encoded in zip(one.plan.frames, one.topics, one.frames, strict=True)
    ]
    row: Any = await pool.fetchrow(
        SQL.store,
        step.consumer,
        step.place.topic,
        step.place.partition,
        step.expected,
        step.after,
        [one.run_id for one in plans],
        [one.plan.candidates for one in plans],
        [dict(one.plan.excluded) for one in plans],
        [one.plan.planned for one in plans],
        *([frame[column] for frame in frames] for column in range(7)),
        sorted(rings),
        [array_text(rings[number]) for number in sorted(rings)],
    )
    return Written(row["is_held"], frozenset(row["runs"]))


async def content_run(
    pool: Pool, publication: tuple[int, int], batch_id: int, *, shards: int, deadline_at: dt.datetime | None
) -> ContentRun:
    """The run of a publication (number, version) over a content batch, made if it is new; raises RunRaceError."""
    for _ in range(RUN_ATTEMPTS):
        row = await pool.fetchrow(SQL.content_run, *publication, batch_id, shards, deadline_at)
        if row is not None:
            return ContentRun(row["id"], row["deadline_at"])
    raise RunRaceError


async def unsent_shards(pool: Pool, shards: Sequence[int]) -> list[int]:
    """Which of the shards have frames that nobody has noted as produced."""
    return [row["shard"] for row in await pool.fetch(SQL.unsent_shards, shards)]


async def unsent(pool: Pool, shard: int, *, limit: int) -> list[Unsent]:
    """The first frames of a shard that nobody has noted as produced, alerts before all others."""
    return [Unsent(**row) for row in await pool.fetch(SQL.unsent, shard, limit)]


async def mark_emitted(pool: Pool, shard: int, frames: Sequence[Unsent]) -> None:
    """Note frames as produced."""
    await pool.execute(SQL.mark_emitted, shard, [one.run_id for one in frames], [one.chunk for one in frames])
