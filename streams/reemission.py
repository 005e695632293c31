"""Owns how due retries become frames again: publishing_deliveries -> delivery topics of their kind and lane."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from aiokafka import AIOKafkaProducer

from publishing.runtime.correlation import accept_traceparent, record_headers
from publishing.runtime.logs import get_logger
from publishing.runtime.metrics import DELIVERIES, RECORDS
from publishing.runtime.producer import full_name, send_frame
from publishing.runtime.settings import Settings
from publishing.stores.leases import DueRetry, Leases, Moves
from schemas.codec import encode
from schemas.messages import DeliveryRequested, Lane
from topics.catalog import DELIVERY
from topics.model import Topic

BATCH_ROWS = 2_000
MAX_DESTINATIONS = 500
ACK_TIMEOUT_S = 10.0
CONSUMER = "retries"
CE_SOURCE = "tidewire/scheduler"

log = get_logger(__name__)

_frame_key = attrgetter("kind", "lane", "run_id", "channel_id", "shard", "chunk")


@dataclasses.dataclass(frozen=True, slots=True)
class RetryFrame:
    """A frame of retries of one run, channel, shard and chunk, and the topic of its kind and lane."""

    topic: Topic
    message: DeliveryRequested


def to_frames(retries: Iterable[DueRetry]) -> list[RetryFrame]:
    """Gather retries into frames of at most 500 destinations, in the order of chunk and destination.

    Content and scores stand once where all destinations of a frame share them.
    """
    ordered = sorted(retries, key=lambda one: (*_frame_key(one), one.destination))
    frames = []
    for _, group in groupby(ordered, key=_frame_key):
        rows = list(group)
        frames += [_frame(rows[at : at + MAX_DESTINATIONS]) for at in range(0, len(rows), MAX_DESTINATIONS)]
    return frames


def _frame(rows: Sequence[DueRetry]) -> RetryFrame:
    first = rows[0]
    content_ids = [tuple(row.content_ids) for row in rows]
    scores = [tuple(row.scores) for row in rows]
    if len(set(content_ids)) == 1 and len(set(scores)) == 1:
        content_ids, scores = content_ids[:1], scores[:1]
    message = DeliveryRequested(
        run_id=first.run_id,
        publication_id=first.publication_id,
        channel_id=first.channel_id,
        shard=first.shard,
        chunk=first.chunk,
        lane=Lane(first.lane),
        template_id=first.template_id,
        template_version=first.template_version,
        deadline_at=first.deadline_at,
        destinations=tuple(row.destination for row in rows),
        arms=tuple(row.arm for row in rows),
        content_ids=tuple(content_ids),
        scores=tuple(scores),
    )
    return RetryFrame(DELIVERY[first.kind, first.lane], message)


class Reemission:
    """Returns what nobody works on to the sinks; each method is a loop's step."""

    def __init__(
        self, leases: Leases, producer: AIOKafkaProducer, settings: Settings, *, clock: Callable[[], dt.datetime]
    ) -> None:
        """Emit retries of the ledger through the producer."""
        self._leases = leases
        self._producer = producer
        self._settings = settings
        self._clock = clock

    async def end_leases(self) -> bool:
        """Move deliveries whose lease ended, and doubtful ones that may be sent again; return whether more wait."""
        now = await self._leases.now()
        moves = await self._leases.return_claimed(now, BATCH_ROWS)
        moves += await self._leases.doubt_submitted(now, BATCH_ROWS)
        moves += await self._leases.resend_doubtful(now, BATCH_ROWS)
        _count(moves)
        return moves.total() >= BATCH_ROWS

    async def emit_due(self) -> bool:
        """Emit one batch of due retries; return whether more may wait.

        A frame that is lost on the way is emitted again after 30 s, and a frame that a sink sees twice claims nothing
        the second time: a retry needs no outbox.
        """
        retries = await self._leases.claim_retries(await self._leases.now(), BATCH_ROWS)
        async with asyncio.timeout(ACK_TIMEOUT_S):
            await asyncio.gather(*(self._send(frame) for frame in to_frames(retries)))
        return len(retries) == BATCH_ROWS

    async def _send(self, frame: RetryFrame) -> None:
        message, now = frame.message, self._clock()
        accept_traceparent(None)
        place = f"{message.run_id}/{message.shard}/{message.chunk}"
        ce_id = f"retry/{place}/{message.destinations[0]}/{int(now.timestamp() * 1000)}"
        assert frame.topic.message is not None
        await send_frame(
            self._producer,
            full_name(self._settings, frame.topic),
            encode(message),
            partition=message.shard % frame.topic.partition_count(self._settings.audience_shards),
            key=place.encode(),
            headers=record_headers(frame.topic.message, ce_id=ce_id, ce_source=CE_SOURCE, now=now),
        )
        RECORDS.labels(CONSUMER, frame.topic.name, "applied").inc()


def _count(moves: Moves) -> None:
    for (kind, lane, state), number in moves.items():
        DELIVERIES.labels(kind, lane, state).inc(number)
        log.warning("lease.ended", kind=kind, lane=lane, state=state, deliveries=number)
