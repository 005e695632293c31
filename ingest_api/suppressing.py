"""Owns the suppression at once: the row and the announcement, when the database answers while somebody waits."""

import asyncio
from collections.abc import Sequence

from ingest_api.resources import Resources
from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from publishing.runtime.valkey import announce_suppression
from publishing.stores import suppressions
from publishing.stores.suppressions import Suppression

# The reader waits for the answer: beyond this the stream alone writes the suppression.
SUPPRESSION_WAIT_S = 0.2

log = get_logger(__name__)


async def suppress_at_once(resources: Resources, found: Sequence[Suppression]) -> bool:
    """Write the rows within 200 ms, then announce them within 200 ms; never raises.

    False when the rows are not known to be written: the event, which the caller records in any case, makes the stream
    write them.
    """
    pool = resources.pool.opened
    if pool is None or not found:
        return not found
    try:
        async with asyncio.timeout(SUPPRESSION_WAIT_S):
            await suppressions.add(pool, found)
    except Exception as error:  # noqa: BLE001  - the event is what must not fail
        log.warning("suppression.late", error=type(error).__name__)
        return False
    metrics.SUPPRESSIONS.labels("direct").inc(len(found))
    client = resources.valkey.opened
    if client is not None:
        await asyncio.gather(
            *(announce_suppression(client, resources.settings, one.destination, one.scope) for one in found)
        )
    return True
