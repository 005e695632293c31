"""Owns the outbox as its relay sees it: rows that wait to be produced, whose turn it is, and what was set aside."""

import dataclasses
import datetime as dt
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
from asyncpg.pool import PoolConnectionProxy

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

# The writer of an encoded frame sends it itself; the relay steps in when it has not within this time.
FRAME_GRACE = dt.timedelta(seconds=5)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A row that waits: either frame (an encoded record) or payload (the fields of one message) is set."""

    id: int
    topic: str
    partition: int
    frame: bytes | None
    payload: Any
    ce_source: str
    traceparent: str | None


class Turn:
    """The right to relay, held until the transaction ends; two relays never hold it at once."""

    def __init__(self, connection: PoolConnectionProxy) -> None:
        """Keep the connection whose transaction holds the lock."""
        self._connection = connection

    async def unsent(self, limit: int, *, now: dt.datetime, excluded: Sequence[int]) -> list[OutboxRow]:
        """Return rows in the order of their ids: payloads at once, frames once their writer's grace is over."""
        rows = await self._connection.fetch(SQL.select_unsent, now - FRAME_GRACE, list(excluded), limit)
        return [OutboxRow(**row) for row in rows]

    async def mark_sent(self, ids: Sequence[int], now: dt.datetime) -> None:
        """Say that the brokers have acknowledged these rows."""
        await self._connection.execute(SQL.mark_sent, list(ids), now)

    async def set_aside(self, row_id: int, reason: str, now: dt.datetime) -> None:
        """Move a row that can never be produced to the quarantine, whole, so that it holds up no other."""
        await self._connection.execute(SQL.set_aside, row_id, reason, now)


class Outbox:
    """Rows of publishing_outbox; every method may be called by any number of processes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on the pool's database."""
        self._pool = pool

    async def has_work(self, now: dt.datetime) -> bool:
        """Return whether a row waits for the relay; one index look-up."""
        return bool(await self._pool.fetchval(SQL.has_work, now - FRAME_GRACE))

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[Turn | None]:
        """Open a transaction and take the turn in it, or yield None where another relay has it.

        The lock belongs to the transaction: a relay that is killed, or frozen for longer than the database's
        idle_in_transaction_session_timeout, loses it, and its marks are rolled back.
        """
        async with self._pool.acquire() as connection, connection.transaction():
            yield Turn(connection) if await connection.fetchval(SQL.take_turn) else None

    async def delete_sent(self, before: dt.datetime, limit: int) -> int:
        """Delete at most limit rows that were sent before a time; return how many there were."""
        return int(await self._pool.fetchval(SQL.delete_sent, before, limit))

    async def measure(self, now: dt.datetime) -> tuple[int, float]:
        """Return the number of rows that wait, and the age of the oldest in seconds (0.0 where none waits)."""
        row = await self._pool.fetchrow(SQL.measure, now)
        assert row is not None
        return row["unsent"], row["oldest_s"]
