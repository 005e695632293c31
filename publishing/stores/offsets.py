"""Where each consumer goes on: `stream_offsets`, the fence of invariant "exactly once in effect"."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

Pool: TypeAlias = asyncpg.Pool

# What the database says of a record's values, whoever writes them and however often: retrying changes nothing.
DATA_ERRORS: tuple[type[Exception], ...] = (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError)


class Place(NamedTuple):
    """One partition of a topic, by the catalogue's name (without the installation's prefix)."""

    topic: str
    partition: int


async def load_offsets(pool: Pool, consumer: str, places: Sequence[Place]) -> Mapping[Place, int]:
    """The next offset of each place; 0 where nothing is stored yet (the log's beginning)."""
    rows = await pool.fetch(SQL.load, consumer, [p.topic for p in places], [p.partition for p in places])
    return {Place(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def advance_offset(pool: Pool, consumer: str, place: Place, *, expected: int, after: int) -> bool:
    """Advance a fence that has no effects beside it; False when another owner has advanced it."""
    return bool(await pool.fetchval(SQL.advance, consumer, place.topic, place.partition, expected, after))
