"""Owns how long rows are kept: days that are made ahead, event ids and windows that are dropped behind."""

import datetime as dt

import asyncpg

from publishing.domain.windows import Grain
from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

# Dropping a partition waits for the readers of its parent; this is as long as new readers may wait behind it.
LOCK_TIMEOUT = "1s"


class Retention:
    """Daily partitions; every method is safe to call from any number of processes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on the pool's database."""
        self._pool = pool

    async def ensure_days(self, first_day: dt.date, last_day: dt.date) -> int:
        """Make the daily partitions of the days given, both included; return how many were new."""
        return int(await self._pool.fetchval(SQL.ensure_days, first_day, last_day))

    async def drop_event_ids(self, before: dt.date) -> list[str]:
        """Drop the event ids of days before the one given; return the names of the partitions that went."""
        return await self._drop("publishing_event_ids", before)

    async def drop_windows(self, grain: Grain, before: dt.date) -> list[str]:
        """Drop the partitions of minute or hour windows that end at or before a day; return their names."""
        return await self._drop(f"publishing_analytics_{grain}", before)

    async def _drop(self, parent: str, before: dt.date) -> list[str]:
        dropped = []
        for row in await self._pool.fetch(SQL.past_partitions, parent, before):
            async with self._pool.acquire() as connection, connection.transaction():
                await connection.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
                await connection.execute(row["statement"])
            dropped.append(row["name"])
        return dropped

    async def delete_event_ids(self, before: dt.date) -> int:
        """Delete older event ids that have no partition of their own; return how many there were."""
        return int(await self._pool.fetchval(SQL.delete_event_ids, before))

    async def delete_windows(self, grain: Grain, before: dt.date) -> int:
        """Delete older minute or hour windows that have no partition of their own; return how many there were."""
        statement = {Grain.MINUTE: SQL.delete_minutes, Grain.HOUR: SQL.delete_hours}[grain]
        return int(await self._pool.fetchval(statement, before))
