"""Owns who did what: the signature that every management write carries into its own statement, and its reading."""

import dataclasses
from typing import Any

from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)
# The source of every outbox row that a management write leaves (CloudEvents `source`).
CE_SOURCE = "tidewire/outbox/api"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who asks for a write and in which request; nothing of it is personal to a reader."""

    actor: str
    role: str
    request_id: str
    traceparent: str


async def entries(pool: Pool, *, entity: str, entity_id: str) -> list[dict[str, Any]]:
    """What was done to one entity, oldest first."""
    return [dict(row) for row in await pool.fetch(SQL.of_entity, entity, entity_id)]
