"""Who tells the partitions of a topic what time it is: publishing_heartbeats, one claim a period."""

import datetime as dt

import asyncpg

from publishing.runtime.statements import load_statements
from topics.model import Topic

SQL = load_statements(__file__)


class Heartbeats:
    """Claims of beats; safe to ask from any number of processes."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on the pool's database."""
        self._pool = pool

    async def claim(self, topic: Topic, period_s: float) -> dt.datetime | None:
        """The database's time where a beat of the topic is due and now ours; None where it is not."""
        beat_at: dt.datetime | None = await self._pool.fetchval(SQL.claim, topic.name, period_s)
        return beat_at
