"""The demo's recount: `replay engagement --check`, once the engagement app has applied what was produced."""

from __future__ import annotations

from publishing.cli.demonstration.pipeline import NotSettledError, until
from publishing.cli.replaying.log import open_log
from publishing.cli.replaying.recounting import Outcome, check, still_unapplied
from publishing.runtime.database import Pool
from publishing.runtime.settings import Settings


async def recount_when_applied(settings: Settings, pool: Pool, within_s: float) -> Outcome | None:
    """The comparison of every window with the log; None when the log was not all applied within the seconds given.

    What is appended meanwhile (a heartbeat, a receipt) changes nothing: both sides are of one moment.
    """
    async with open_log(settings) as log:
        ends = await log.ends()

    async def waiting() -> object:
        return await still_unapplied(pool, ends) or None

    try:
        await until("the log of engagement is applied", within_s, waiting)
    except NotSettledError:
        return None
    return await check(settings, pool)
