"""A replay from the first kept record to the comparison: what is checked, and what is swapped in under the fences."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from publishing.cli.failures import CommandError
from publishing.cli.replaying.counting import DAY_MS, Recount, Touch
from publishing.cli.replaying.coverage import Coverage, coverage_of
from publishing.cli.replaying.log import Log, open_log
from publishing.cli.replaying.rulings import Ruling
from publishing.runtime.clock import monotonic_s, now_ms
from publishing.runtime.database import Pool
from publishing.runtime.settings import Settings
from publishing.stores.offsets import Place, load_offsets
from publishing.stores.replays import Compared, Replays, Ruled, open_replays
from topics.catalog import ENGAGEMENT_RECORDED

CONSUMER: Final = "engagement"
SHOWN: Final = 20
CATCH_UP_ROUNDS: Final = 20
CLOSE_RECORDS: Final = 500
"""So few records behind, the rest is read with the fences held."""

LOCKED_LIMIT_S: Final = 20.0
"""The fences are given back after this, whatever is not done: a worker's own write waits for 30 s at most."""


class BusyError(CommandError):
    """What has to be done while the engagement app waits takes more than {seconds:.0f} s; nothing was changed.

    Run it again in a quieter hour.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class NewRules(NamedTuple):
    """Rules to judge the kept log by, in their JSON form, since a UTC day (ms since 1970)."""

    version: int
    rules: Sequence[Mapping[str, Any]]
    since_ms: int


@dataclass(slots=True)
class Outcome:
    """What a replay found and did; `partitions` are the next offsets up to which it counted."""

    different: int
    cells: int
    events: int
    poison: int
    partitions: dict[int, int]
    coverage: Coverage
    differences: list[dict[str, Any]] = field(default_factory=list)
    touches: int = 0
    seconds: float = 0.0
    counted_s: float = 0.0
    locked_s: float = 0.0
    since_ms: int | None = None
    replay_id: int | None = None

    @property
    def is_equal(self) -> bool:
        """Whether every covered cell was what the log says."""
        return self.different == 0


async def check(settings: Settings, pool: Pool, rules: NewRules | None = None) -> Outcome:
    """Recount up to what the app has applied at one moment, and compare with the cells of that moment."""
    started_s = monotonic_s()
    async with _begun(settings, pool, rules, with_cells=True) as work:
        compared = await work.shadow.compare(*work.coverage)
        return await work.outcome(compared, started_s)


async def rebuild(settings: Settings, pool: Pool, rules: NewRules | None = None) -> Outcome:
    """Recount and make the live cells what the log says, under new rules where they are given; raises BusyError."""
    started_s = monotonic_s()
    async with _begun(settings, pool, rules, with_cells=False) as work:
        for _ in range(CATCH_UP_ROUNDS):
            if await work.advance(await work.shadow.offsets()) <= CLOSE_RECORDS:
                break
            await work.refill()
        locked_s = monotonic_s()
        try:
            async with asyncio.timeout(LOCKED_LIMIT_S):
                outcome = await _swap(work, started_s, rules)
        except TimeoutError as error:
            raise BusyError(LOCKED_LIMIT_S) from error
        outcome.locked_s = monotonic_s() - locked_s
        return outcome


async def still_unapplied(pool: Pool, ends: Mapping[int, int]) -> int:
    """How many records before these offsets the engagement app has not applied yet."""
    places = [Place(ENGAGEMENT_RECORDED.name, partition) for partition in ends]
    applied = await load_offsets(pool, CONSUMER, places)
    return sum(max(0, ends[place.partition] - offset) for place, offset in applied.items())


async def _swap(work: _Work, started_s: float, rules: NewRules | None) -> Outcome:
    async with work.shadow.locked(work.log.partitions) as offsets:
        await work.advance(offsets)
        await work.refill()
        compared = await work.shadow.compare(*work.coverage, live=True)
        outcome = await work.outcome(compared, started_s)
        outcome.touches = await work.shadow.replace(work.coverage.others_from_ms)
        is_changed = bool(outcome.different or outcome.touches)
        if rules is not None and is_changed:
            ruled = Ruled(rules.version, rules.rules, work.since_ms or 0, dict(offsets))
            outcome.replay_id = await work.shadow.record_ruling(ruled, outcome.different)
        if is_changed:
            action, number = ("rebuild", "cells") if rules is None else ("replay verdicts", str(outcome.replay_id))
            await work.shadow.sign(action, number, {"cells": outcome.different, "touches": outcome.touches})
        return outcome


@dataclass(slots=True)
class _Work:
    """The parts of a running replay: the log, the shadow, the count and how far it has come."""

    log: Log
    shadow: Replays
    count: Recount
    coverage: Coverage
    position: dict[int, int]
    since_ms: int | None
    counted_s: float = 0.0
    _mark: int = 0

    async def advance(self, offsets: Mapping[int, int]) -> int:
        """Count on to the offsets given; returns how many records that were."""
        started_s, read = monotonic_s(), 0
        for partition, end in sorted(offsets.items()):
            async for records in self.log.read(partition, self.position.get(partition, 0), end):
                for record in records:
                    self.count.add(partition, record.offset, record.timestamp, record.value, record.headers)
                read += len(records)
                await self.shadow.fill_touches(self.count.fresh_touches())
            self.position[partition] = max(end, self.position.get(partition, 0))
        self.counted_s += monotonic_s() - started_s
        return read

    async def refill(self) -> None:
        """Bring the cells that have changed since the last time into the shadow."""
        since, self._mark = self._mark, self.count.mark()
        await self.shadow.fill_cells(self.count.rows(since=since))

    async def outcome(self, compared: Compared, started_s: float) -> Outcome:
        """What is said of it."""
        return Outcome(
            different=compared.different,
            cells=compared.cells,
            events=compared.events,
            poison=self.count.poison,
            partitions=dict(sorted(self.position.items())),
            coverage=self.coverage,
            differences=await self.shadow.differences(SHOWN),
            seconds=monotonic_s() - started_s,
            counted_s=self.counted_s,
            since_ms=self.since_ms,
        )


@asynccontextmanager
async def _begun(settings: Settings, pool: Pool, rules: NewRules | None, *, with_cells: bool) -> AsyncIterator[_Work]:
    """A replay that has counted up to one moment and has its cells in the shadow; raises ReplayRunningError."""
    async with open_replays(pool, CONSUMER, ENGAGEMENT_RECORDED.name) as shadow, open_log(settings) as log:
        begins = await log.begins()
        coverage = await coverage_of(log, begins, now_ms())
        snapshot = await shadow.snapshot(touched_before_ms=coverage.others_from_ms, with_cells=with_cells)
        rulings = [Ruling(one.rules, one.since_ms, one.next_offsets) for one in snapshot.rulings]
        since_ms = None
        if rules is not None:
            since_ms = max(rules.since_ms, -(-coverage.others_from_ms // DAY_MS) * DAY_MS)
            rulings.insert(0, Ruling(rules.rules, since_ms, None))
        count = Recount(rulings, [Touch(*touch) for touch in snapshot.touches])
        work = _Work(log, shadow, count, coverage, dict(begins), since_ms)
        await work.advance(snapshot.offsets)
        await work.refill()
        yield work
