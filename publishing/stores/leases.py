"""Owns deliveries that nobody works on any more: leases that ended, retries that are due, doubts that may be resent."""

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Sequence

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

# A sink that is alive records within its lease; the grace is for a record that is on its way.
SUBMITTED_GRACE = dt.timedelta(seconds=10)
# A retry that was emitted is left alone for so long, although no sink has taken it yet.
REEMIT_AFTER = dt.timedelta(seconds=30)
# Sending these again is one message for the receiver: a feed entry by its guid, a webhook by its webhook-id
# (https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md).
RESENDABLE_KINDS = ("webhook", "feed")
MAX_DOUBTFUL_ATTEMPTS = 8
DOUBT_BASE_S = 1.0
DOUBT_CAP_S = 300.0

# (kind, lane, state) -> number of deliveries that reached the state.
Moves = Counter[tuple[str, str, str]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DueRetry:
    """A delivery whose next attempt is due: content_ids best first, scores in the same order."""

    kind: str
    run_id: int
    publication_id: int
    channel_id: int
    destination: int
    shard: int
    chunk: int
    lane: str
    template_id: int
    template_version: int
    deadline_at: dt.datetime | None
    arm: int
    content_ids: Sequence[int]
    scores: Sequence[float]


class Leases:
    """Rows of publishing_deliveries by lease and retry time; every method is one statement and safe to repeat."""

    def __init__(self, pool: asyncpg.Pool) -> None:
        """Work on the pool's database."""
        self._pool = pool

    async def now(self) -> dt.datetime:
        """Return the database's time: leases and attempts are dated by it, whatever the clocks of the processes say."""
        now: dt.datetime = await self._pool.fetchval(SQL.database_now)
        return now

    async def return_claimed(self, now: dt.datetime, limit: int) -> Moves:
        """Make deliveries whose lease ended while claimed due again: nothing was sent, so it is safe."""
        return _counted(await self._pool.fetch(SQL.return_claimed, now, limit))

    async def doubt_submitted(self, now: dt.datetime, limit: int) -> Moves:
        """Put deliveries whose lease ended while submitted in doubt: the provider may have them."""
        return _counted(await self._pool.fetch(SQL.doubt_submitted, now, now - SUBMITTED_GRACE, limit))

    async def resend_doubtful(self, now: dt.datetime, limit: int) -> Moves:
        """Make doubtful deliveries due again where a repeat is idempotent; the others stay in doubt, in sight.

        The wait is drawn from a tier that doubles with each attempt (1 s to 300 s); after 8 attempts the row stays.
        """
        rows = await self._pool.fetch(
            SQL.resend_doubtful, now, list(RESENDABLE_KINDS), MAX_DOUBTFUL_ATTEMPTS, limit, DOUBT_BASE_S, DOUBT_CAP_S
        )
        return _counted(rows)

    async def claim_retries(self, now: dt.datetime, limit: int) -> list[DueRetry]:
        """Take at most limit due retries to emit them; no scheduler takes one of them again for 30 s."""
        return [DueRetry(**row) for row in await self._pool.fetch(SQL.claim_retries, now, now + REEMIT_AFTER, limit)]


def _counted(rows: Sequence[asyncpg.Record]) -> Moves:
    return Counter((row["kind"], row["lane"], row["state"]) for row in rows)
