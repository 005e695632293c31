"""Owns when runs begin and end: due publications become runs once, and settled runs become done."""

import dataclasses
import datetime as dt

import asyncpg

from publishing.domain.ledger import TERMINAL
from publishing.runtime.correlation import new_traceparent
from publishing.runtime.statements import load_statements
from topics.catalog import PUBLICATION_CHANGED, PUBLICATION_DUE

SQL = load_statements(__file__)

# States in which a delivery no longer holds up its run.
SETTLED = tuple(sorted(TERMINAL))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DueRun:
    """A publication that was due; run_id is None where the run of that due time existed already."""

    publication_id: int
    run_id: int | None


class Scheduling:
    """Runs of publishing_runs; every method is one statement and may be called by any number of processes."""

    def __init__(self, pool: asyncpg.Pool, *, audience_shards: int) -> None:
        """Work on the pool's database, for an audience of so many shards."""
        self._pool = pool
        self._shards = audience_shards

    async def claim_due(self, now: dt.datetime, limit: int) -> list[DueRun]:
        """Turn at most limit due publications into runs, with the records that tell every shard.

        A publication that another scheduler is claiming is skipped, and (publication, due time) is unique: a run is
        made at most once however many schedulers run.
        """
        rows = await self._pool.fetch(
            SQL.claim_due, now, limit, self._shards, PUBLICATION_DUE.name, PUBLICATION_CHANGED.name, new_traceparent()
        )
        return [DueRun(**row) for row in rows]

    async def planned_runs(self, after_id: int, limit: int) -> list[int]:
        """Return running runs that every shard has planned, in the order of their ids, above after_id."""
        return [row["id"] for row in await self._pool.fetch(SQL.planned_runs, after_id, limit)]

    async def finish_run(self, run_id: int, now: dt.datetime) -> bool:
        """End a run whose planned deliveries are all settled, and its publication with it where it has but one run.

        Returns whether the run ended by this call.
        """
        return bool(
            await self._pool.fetchval(
                SQL.finish_run, run_id, now, list(SETTLED), PUBLICATION_CHANGED.name, new_traceparent(), self._shards
            )
        )
