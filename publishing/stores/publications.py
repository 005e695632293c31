"""Owns the rows of publications: creation with the first run and its announcements in one statement, and reads."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any

from publishing.domain.publications import Status
from publishing.runtime.statements import load_statements
from publishing.stores.audit import CE_SOURCE, Signature
from publishing.stores.availability import Pool
from topics.catalog import PUBLICATION_CHANGED, PUBLICATION_DUE

SQL = load_statements(__file__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewPublication:
    """A publication to be created; run_at makes a run at once, next_due_at leaves it to the scheduler."""

    name: str
    status: Status
    definition: Mapping[str, Any]
    next_due_at: dt.datetime | None = None
    run_at: dt.datetime | None = None
    deadline_at: dt.datetime | None = None


class Publications:
    """The publications of an installation of so many shards."""

    def __init__(self, pool: Pool, *, shards: int) -> None:
        """Keep the pool."""
        self._pool = pool
        self._shards = shards

    async def create(self, publication: NewPublication, signature: Signature) -> dict[str, Any]:
        """Write a publication, its run if it is due now, and what tells every shard of both."""
        row = await self._pool.fetchrow(
            SQL.create,
            publication.name,
            publication.status.value,
            dict(publication.definition),
            publication.next_due_at,
            signature.actor,
            self._shards,
            publication.run_at,
            publication.deadline_at,
            PUBLICATION_CHANGED.name,
            PUBLICATION_DUE.name,
            CE_SOURCE,
            signature.traceparent,
            signature.role,
            signature.request_id,
            sorted(publication.definition),
        )
        assert row is not None
        return {**row, "last_due_at": publication.run_at, "channel_results": [], "engagement": dict(_NO_ENGAGEMENT)}

    async def one(self, number: int) -> dict[str, Any] | None:
        """Read one publication with its latest runs, what became of its deliveries, and its engagement; or None."""
        row = await self._pool.fetchrow(SQL.one, number)
        if row is None:
            return None
        states: dict[int, dict[str, int]] = {}
        for result in await self._pool.fetch(SQL.channel_results, number):
            states.setdefault(result["channel_id"], {})[result["state"]] = result["deliveries"]
        engagement = {cell["kind"]: cell["total"] for cell in await self._pool.fetch(SQL.engagement, number)}
        return {
            **row,
            "channel_results": [{"channel_id": channel_id, "states": found} for channel_id, found in states.items()],
            "engagement": _NO_ENGAGEMENT | engagement,
        }

    async def page(self, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Read publications in the order of their numbers, without their results."""
        return [dict(row) for row in await self._pool.fetch(SQL.page, after, limit)]


_NO_ENGAGEMENT = {"opened": 0, "clicked": 0}
