"""Owns what a provider's callback is about: the delivery by its key, its message's number or its reader's address."""

import dataclasses
from collections.abc import Mapping, Sequence

from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KnownDelivery:
    """A delivery by its numbers; 0 where only the destination is known."""

    run_id: int = 0
    publication_id: int = 0
    channel_id: int = 0
    destination: int
    arm: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class CallbackChannel:
    """A channel that may be called back for; `destination` is its room, None for a channel of readers."""

    id: int
    kind: str
    version: int
    destination: int | None
    config_sealed: bytes = dataclasses.field(repr=False)


async def read_delivery(pool: Pool, *, run_id: int, channel_id: int, destination: int) -> KnownDelivery | None:
    """Read whose delivery a key names, or None when there is none."""
    row = await pool.fetchrow(SQL.delivery, run_id, channel_id, destination)
    if row is None:
        return None
    return KnownDelivery(
        run_id=run_id,
        publication_id=row["publication_id"],
        channel_id=channel_id,
        destination=destination,
        arm=row["arm"],
    )


async def read_message(
    pool: Pool, message_id: str, lookups: Sequence[bytes]
) -> tuple[list[KnownDelivery], Mapping[bytes, int]]:
    """Read the deliveries of a provider's message, and the subscribers that keyed hashes of addresses stand for."""
    rows = await pool.fetch(SQL.deliveries_of_message, message_id)
    known = await pool.fetch(SQL.subscribers_of_addresses, list(lookups))
    return [KnownDelivery(**dict(row)) for row in rows], {row["email_lookup"]: row["id"] for row in known}


async def read_channel(pool: Pool, channel_id: int) -> CallbackChannel | None:
    """Read a channel with its sealed configuration, or None when there is none."""
    row = await pool.fetchrow(SQL.channel, channel_id)
    return None if row is None else CallbackChannel(**dict(row))
