"""Owns whose delivery an event of SES is about: by the message's tags, else by what the database knows of it."""

import asyncio
import re
from collections.abc import Mapping
from typing import Final

from ingest_api.resources import Resources
from publishing.domain.ses_events import SesNotification
from publishing.runtime.logs import get_logger
from publishing.stores.availability import is_unavailable
from publishing.stores.callbacks import KnownDelivery, read_delivery, read_message

# A database that hangs may cost SNS this much of the 15 s that it waits.
DATABASE_WAIT_S: Final = 2.0

_KEY = re.compile(r"([0-9]{1,18})-([0-9]{1,9})-([0-9]{1,18})", re.ASCII)
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_ARM = re.compile(r"[0-9]{1,2}", re.ASCII)

log = get_logger(__name__)


async def deliveries_of(resources: Resources, notification: SesNotification) -> list[KnownDelivery | None]:
    """Return the delivery of each event, None for a destination that is nobody's here.

    A tag is believed for a message with one recipient. Raises what says that the database is away when only it knows.
    """
    key = _KEY.fullmatch(notification.tags.get("delivery", ""))
    if key is not None and notification.destination_count <= 1:
        return [await _tagged(resources, key, notification.tags)] * len(notification.events)
    return await _looked_up(resources, notification)


async def _tagged(resources: Resources, key: re.Match[str], tags: Mapping[str, str]) -> KnownDelivery:
    run_id, channel_id, destination = (int(part) for part in key.groups())
    publication, arm = tags.get("publication", ""), tags.get("arm", "")
    if _NUMBER.fullmatch(publication) and _ARM.fullmatch(arm):
        return KnownDelivery(
            run_id=run_id,
            publication_id=int(publication),
            channel_id=channel_id,
            destination=destination,
            arm=int(arm),
        )
    # Tagged before the other tags were there: its publication is worth a question, not the loss of a complaint.
    alone = KnownDelivery(run_id=run_id, channel_id=channel_id, destination=destination)
    try:
        async with asyncio.timeout(DATABASE_WAIT_S):
            pool = resources.pool.opened
            found = pool and await read_delivery(pool, run_id=run_id, channel_id=channel_id, destination=destination)
    except Exception as error:
        if not is_unavailable(error):
            raise
        log.warning("hook.publication_unknown", error=type(error).__name__)
        return alone
    return found or alone


async def _looked_up(resources: Resources, notification: SesNotification) -> list[KnownDelivery | None]:
    lookups = [resources.sealer.lookup(event.address) if event.address else b"" for event in notification.events]
    async with asyncio.timeout(DATABASE_WAIT_S):
        deliveries, subscribers = await read_message(
            resources.pool.require(), notification.message_id, [one for one in lookups if one]
        )
    by_destination = {one.destination: one for one in deliveries}
    # The reader's address may have changed since: a message of one recipient is theirs all the same.
    only = deliveries[0] if len(deliveries) == 1 and notification.destination_count <= 1 else None
    found: list[KnownDelivery | None] = []
    for lookup in lookups:
        number = subscribers.get(lookup)
        known = by_destination.get(number) if number is not None else None
        if known is None and number is not None and only is None:
            known = KnownDelivery(destination=number)
        found.append(known or only)
    return found
