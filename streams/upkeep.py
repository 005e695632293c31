"""Owns the housekeeping of the database: days made ahead, event ids and windows dropped behind, sent rows deleted."""

import datetime as dt
from collections.abc import Callable

from publishing.domain.windows import Grain
from publishing.runtime.logs import get_logger
from publishing.stores.outbox import Outbox
from publishing.stores.retention import Retention

DAYS_BEHIND = dt.timedelta(days=1)
DAYS_AHEAD = dt.timedelta(days=7)
# The horizon within which an event that comes again is known (design: publishing_event_ids, by day, 7 days).
EVENT_IDS_KEPT = dt.timedelta(days=7)
# Minutes are for watching, hours for comparing with a year ago (13 months); days stay for good.
MINUTES_KEPT = dt.timedelta(days=14)
HOURS_KEPT = dt.timedelta(days=396)
SENT_KEPT = dt.timedelta(hours=24)
DELETE_BATCH = 1_000

log = get_logger(__name__)


class Upkeep:
    """Keeps the tables within their time; each method is a loop's step."""

    def __init__(self, retention: Retention, outbox: Outbox, *, clock: Callable[[], dt.datetime]) -> None:
        """Work on the tables of the database."""
        self._retention = retention
        self._outbox = outbox
        self._clock = clock

    async def keep_days(self) -> bool:
        """Make the partitions of the coming days and drop event ids older than 7 days; never more at once."""
        today = self._clock().date()
        made = await self._retention.ensure_days(today - DAYS_BEHIND, today + DAYS_AHEAD)
        if made:
            log.info("partitions.made", partitions=made, until=str(today + DAYS_AHEAD))
        before = today - EVENT_IDS_KEPT
        dropped = await self._retention.drop_event_ids(before)
        deleted = await self._retention.delete_event_ids(before)
        if dropped or deleted:
            log.info("event_ids.dropped", partitions=dropped, rows_without_partition=deleted, before=str(before))
        return False

    async def drop_windows(self) -> bool:
        """Drop the minute windows of days older than 14 days, and the hour windows of months older than 13 months."""
        today = self._clock().date()
        for grain, kept in ((Grain.MINUTE, MINUTES_KEPT), (Grain.HOUR, HOURS_KEPT)):
            dropped = await self._retention.drop_windows(grain, today - kept)
            deleted = await self._retention.delete_windows(grain, today - kept)
            if dropped or deleted:
                log.info("windows.dropped", grain=grain, partitions=dropped, rows_without_partition=deleted)
        return False

    async def delete_sent(self) -> bool:
        """Delete one batch of outbox rows that were sent 24 h ago; return whether more may wait."""
        deleted = await self._outbox.delete_sent(self._clock() - SENT_KEPT, DELETE_BATCH)
        if deleted:
            log.info("outbox.deleted", rows=deleted)
        return deleted == DELETE_BATCH
