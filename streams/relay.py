"""Owns the way from the outbox to Kafka: publishing_outbox -> the topic that each row names.

At least once: a row is marked after the brokers' acknowledgement, so a relay that dies between the two sends it again,
and consumers know it by its number (ce_id). One relay works at a time; the turn ends with its transaction.
"""

import asyncio
import datetime as dt
from collections.abc import Callable, Sequence

from aiokafka import AIOKafkaProducer

from publishing.runtime.correlation import accept_traceparent, record_headers
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.metrics import BURIED, OUTBOX_AGE_SECONDS, OUTBOX_UNSENT, RECORDS
from publishing.runtime.producer import full_name, send_frame
from publishing.runtime.settings import Settings
from publishing.stores.outbox import Outbox, Turn
from streams.records import Poison, Record, to_records

BATCH_ROWS = 500
# Rows whose acknowledgement is awaited: an outage must not fill the memory, nor send the same row over and over.
MAX_PENDING_ROWS = 2_000
# Below the database's idle_in_transaction_session_timeout (5 s), which would end the turn.
ACK_TIMEOUT_S = 3.0
CONSUMER = "outbox"

log = get_logger(__name__)


class UnacknowledgedError(Exception):
    """Records were not acknowledged in time: their rows stay, and the relay looks at them again."""


class Relay:
    """Sends what waits in the outbox; step() is repeated by a loop."""

    def __init__(
        self, outbox: Outbox, producer: AIOKafkaProducer, settings: Settings, *, clock: Callable[[], dt.datetime]
    ) -> None:
        """Relay rows of the outbox through the producer."""
        self._outbox = outbox
        self._producer = producer
        self._settings = settings
        self._clock = clock
        self._pending: dict[tuple[int, ...], asyncio.Task[None]] = {}

    async def step(self) -> bool:
        """Send one batch; return whether more may wait.

        Raises UnacknowledgedError, or the first error of a record, once the rows that did arrive are marked.
        """
        if not self._pending and not await self._outbox.has_work(self._clock()):
            return False
        async with self._outbox.turn() as turn:
            if turn is None:
                return False
            taken = await self._take(turn)
            if self._pending:
                await asyncio.wait(self._pending.values(), timeout=ACK_TIMEOUT_S)
            failpoint("scheduler.after_produce")
            errors = await self._mark(turn)
        if errors:
            raise errors[0]
        if self._pending:
            raise UnacknowledgedError
        return taken == BATCH_ROWS

    async def measure(self) -> bool:
        """Publish how much waits; a loop's step."""
        unsent, oldest_s = await self._outbox.measure(self._clock())
        OUTBOX_UNSENT.set(unsent)
        OUTBOX_AGE_SECONDS.set(oldest_s)
        return False

    async def _take(self, turn: Turn) -> int:
        excluded = [row_id for ids in self._pending for row_id in ids]
        if len(excluded) >= MAX_PENDING_ROWS:
            return 0
        rows = await turn.unsent(BATCH_ROWS, now=self._clock(), excluded=excluded)
        records, poison = to_records(rows, self._settings.audience_shards)
        await self._set_aside(turn, poison)
        for record in records:
            self._pending[record.ids] = asyncio.create_task(self._send(record))
        return len(rows)

    async def _set_aside(self, turn: Turn, poison: Sequence[Poison]) -> None:
        for one in poison:
            await turn.set_aside(one.row_id, one.reason, self._clock())
            # The topic of poison may be any text: a label must come from a closed set.
            BURIED.labels("outbox", one.reason).inc()
            log.error("outbox.row_set_aside", row=one.row_id, topic=one.topic[:100], reason=one.reason)

    async def _send(self, record: Record) -> None:
        accept_traceparent(record.traceparent)
        assert record.topic.message is not None
        headers = record_headers(
            record.topic.message, ce_id=str(record.ids[0]), ce_source=record.ce_source, now=self._clock()
        )
        name = full_name(self._settings, record.topic)
        await send_frame(self._producer, name, record.value, partition=record.partition, headers=headers)
        RECORDS.labels(CONSUMER, record.topic.name, "applied").inc()

    async def _mark(self, turn: Turn) -> list[Exception]:
        ended = {ids: task for ids, task in self._pending.items() if task.done()}
        failed = {ids: error for ids, task in ended.items() if (error := _error_of(task)) is not None}
        await turn.mark_sent([row_id for ids in ended if ids not in failed for row_id in ids], self._clock())
        for ids in ended:
            del self._pending[ids]
        return list(failed.values())


def _error_of(task: asyncio.Task[None]) -> Exception | None:
    if task.cancelled():
        return UnacknowledgedError()
    error = task.exception()
    return error if error is None or isinstance(error, Exception) else UnacknowledgedError()
