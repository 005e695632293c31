"""Owns the rows of channels: creation with the room's destination number, the sealed configuration, and reads."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from publishing.runtime.sealing import Sealer
from publishing.runtime.statements import load_statements
from publishing.stores.audit import CE_SOURCE, Signature
from publishing.stores.availability import Pool, repeated
from topics.catalog import SUBSCRIBER_CHANGED

SQL = load_statements(__file__)
# The kind whose destinations are subscribers; every other channel is a room, a destination itself.
READERS_KIND = "email"


def config_label(channel_id: int) -> str:
    """Name what a channel's sealed configuration is bound to."""
    return f"channel/{channel_id}"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewChannel:
    """A channel to be created; config is the plain configuration, and is sealed before it leaves this store."""

    kind: str
    name: str
    config: Mapping[str, Any]
    topics: Mapping[str, float]
    limits: Mapping[str, Any]
    validation: Mapping[str, str]


class NameTakenError(Exception):
    """A channel of this name exists; choose another name."""


class Channels:
    """The channels of an installation of so many shards."""

    def __init__(self, pool: Pool, sealer: Sealer, *, shards: int) -> None:
        """Keep the pool and the keys."""
        self._pool = pool
        self._sealer = sealer
        self._shards = shards

    async def create(self, channel: NewChannel, signature: Signature) -> dict[str, Any]:
        """Write a channel; a room gets a destination number and is announced to its shard; raises NameTakenError."""
        numbers = await self._pool.fetchrow(SQL.reserve, channel.kind != READERS_KIND)
        assert numbers is not None
        sealed = self._sealer.seal_config(config_label(numbers["id"]), json.dumps(dict(channel.config)).encode())
        row = await repeated(
            lambda: self._pool.fetchrow(
                SQL.create,
                numbers["id"],
                channel.kind,
                channel.name,
                sealed,
                dict(channel.topics),
                dict(channel.limits),
                dict(channel.validation),
                numbers["destination"],
                self._shards,
                SUBSCRIBER_CHANGED.name,
                CE_SOURCE,
                signature.traceparent,
                signature.actor,
                signature.role,
                signature.request_id,
                sorted(channel.config),
            )
        )
        if row is None:
            raise NameTakenError
        return dict(row)

    async def one(self, number: int) -> dict[str, Any] | None:
        """Read one channel without its configuration, or None."""
        row = await self._pool.fetchrow(SQL.one, number)
        return None if row is None else dict(row)

    async def page(self, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Read channels in the order of their numbers."""
        return [dict(row) for row in await self._pool.fetch(SQL.page, after, limit)]

    async def config(self, number: int) -> tuple[str, dict[str, Any]] | None:
        """Open a channel's configuration: its kind and the plain mapping, or None; raises SealError."""
        row = await self._pool.fetchrow(SQL.config, number)
        if row is None:
            return None
        plain = json.loads(self._sealer.open_config(config_label(number), row["config_sealed"]))
        return row["kind"], plain

    async def validated(
        self, number: int, validation: Mapping[str, str], signature: Signature
    ) -> dict[str, Any] | None:
        """Keep the outcome of a channel's test, or return None when there is no such channel."""
        row = await self._pool.fetchrow(
            SQL.validated, number, dict(validation), signature.actor, signature.role, signature.request_id
        )
        return None if row is None else dict(row)

    async def unknown(self, numbers: Sequence[int]) -> list[int]:
        """Return those of the numbers that name no channel."""
        known = {row["id"] for row in await self._pool.fetch(SQL.known, list(numbers))}
        return [number for number in numbers if number not in known]
