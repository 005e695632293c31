"""Takes content in: checks, scores and stores it, content.submitted.v1 -> content.ready.v1."""

import asyncio
import datetime as dt
from collections.abc import AsyncIterable, Sequence
from typing import Any

from faust.types import TP

from publishing.domain.content import ContentError, ReviewedContent, check, newest_versions, reviewed
from publishing.domain.quality import LocalScorer, Scorer
from publishing.runtime import metrics
from publishing.runtime.burial import pairs
from publishing.runtime.clock import utc_now
from publishing.runtime.correlation import accept_traceparent, header, record_headers
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.producer import full_name, send_frame
from publishing.runtime.settings import Settings
from publishing.stores import content as store
from schemas.codec import decode, encode
from schemas.errors import SchemaError
from schemas.messages import ContentReady, ContentSubmitted
from streams.application import StreamApp, by_partition, create_app, raw_topic
from streams.guard import Batch, StreamRecord
from streams.loops import Loop, repeat
from streams.serve import run
from topics.catalog import CONTENT_READY, CONTENT_SUBMITTED

CE_SOURCE = "tidewire/review"
GATHER_RECORDS = 100
"""Items of a batch: at a submitted item's largest size their frame stays below a record's megabyte."""

GATHER_S = 0.05
RESEND_EVERY_S = 2.0
MAX_CLOCK_SKEW = dt.timedelta(minutes=5)

log = get_logger(__name__)


class UnfitContentError(SchemaError):
    """The item cannot be published: correct the field as the remedy says and submit it again."""

    reason = "unfit_content"

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(field, remedy)
        self.field = field
        self.remedy = remedy


class Review:
    """Writes batches of submitted content, and produces the ready batches of the partitions it owns."""

    def __init__(self, app: StreamApp, settings: Settings, scorer: Scorer) -> None:
        self._app = app
        self._settings = settings
        self._scorer = scorer
        self._owned: frozenset[int] = frozenset()

    async def own(self, partitions: frozenset[TP]) -> None:
        """Note which source partitions are this worker's."""
        self._owned = frozenset(tp.partition for tp in partitions)

    async def write(self, batch: Batch[ContentSubmitted]) -> bool:
        """Store a batch under the fence and produce what is new; False when the fence is lost."""
        if batch.items:
            accept_traceparent(header(pairs(batch.items[0].record.headers), "traceparent"))
        items = newest_versions(await self._reviewed(batch))
        failpoint("review.before_commit")
        place = self._app.fence.place(batch.tp)
        stored = await store.store(
            self._app.pool, self._app.consumer_name, place, items, expected=batch.expected, after=batch.after
        )
        if not stored.is_held:
            return False
        failpoint("review.after_commit")
        fresh = 0 if stored.batch is None else len(stored.batch.items)
        metrics.CONTENT_ITEMS.labels("stored").inc(fresh)
        metrics.CONTENT_ITEMS.labels("known").inc(len(batch.items) - fresh)
        if stored.batch is not None:
            await self._produce_once([stored.batch])
        return True

    async def resend(self) -> None:
        """Produce the stored batches of owned partitions that nobody has noted as produced."""
        if self._owned and not self._app.rebalancing:
            await self._produce(await store.unsent_batches(self._app.pool, sorted(self._owned)))

    async def _reviewed(self, batch: Batch[ContentSubmitted]) -> list[ReviewedContent]:
        items = [item.value for item in batch.items]
        scores = await self._scorer.scores(items)
        return [
            reviewed(
                item.value,
                quality=score if item.value.quality is None else item.value.quality,
                submitted_at=submitted_at(item.record, utc_now()),
            )
            for item, score in zip(batch.items, scores, strict=True)
        ]

    async def _produce_once(self, batches: Sequence[ContentReady]) -> None:
        """Produce what is stored already: a failure here is mended by the next resending, never by storing again."""
        try:
            await self._produce(batches)
        except Exception as error:  # noqa: BLE001 - the batch is stored; only its broadcast is late
            log.warning("broadcast.postponed", error=type(error).__name__)

    async def _produce(self, batches: Sequence[ContentReady]) -> None:
        topic = full_name(self._settings, CONTENT_READY)
        for batch in batches:
            payload = encode(batch)
            headers = record_headers("ContentReady", ce_id=str(batch.batch_id), ce_source=CE_SOURCE, now=utc_now())
            await asyncio.gather(
                *(
                    send_frame(
                        self._app.frame_producer,
                        topic,
                        payload,
                        partition=shard,
                        key=str(batch.batch_id).encode(),
                        headers=headers,
                    )
                    for shard in range(self._settings.audience_shards)
                )
            )
            await store.mark_emitted(self._app.pool, [batch.batch_id])
            failpoint("review.after_emit")


def submitted_at(record: StreamRecord, now: dt.datetime) -> dt.datetime:
    """When the broker or the producer says the record was made; now where that is beyond a clock's likely error."""
    at = dt.datetime.fromtimestamp(max(record.timestamp, 0.0), dt.UTC)
    return at if now - dt.timedelta(days=7) <= at <= now + MAX_CLOCK_SKEW else now


def decoded(record: StreamRecord) -> ContentSubmitted:
    """The item of a record, checked; raises SchemaError, after which the guard buries the record."""
    item = decode(record.value or b"", ContentSubmitted)
    try:
        check(item, now=utc_now())
    except ContentError as error:
        metrics.CONTENT_ITEMS.labels("refused").inc()
        raise UnfitContentError(error.field, error.remedy) from error
    return item


def build(settings: Settings) -> StreamApp:
    """The app of content intake."""
    app = create_app(settings, "review")
    app.required_topics.append(CONTENT_READY)
    review = Review(app, settings, LocalScorer())
    guard = app.guard(decoded)
    app.on_assigned(review.own)

    @app.agent(raw_topic(app, settings, CONTENT_SUBMITTED))
    async def take_in(stream: Any) -> None:
        """Gather items for a moment and write each partition's."""
        batches: AsyncIterable[Any] = stream.take_events(GATHER_RECORDS, within=GATHER_S)
        async for batch in batches:
            failpoint("review.after_poll")
            found = by_partition(batch)
            await asyncio.gather(*(guard.guarded(tp, records, review.write) for tp, records in found.items()))

    @app.task  # type: ignore[untyped-decorator]  # faust's types
    async def resend() -> None:
        """Produce what an earlier worker stored and did not produce."""
        # Faust cancels the task when the app stops.
        await repeat(Loop("review.resend", review.resend, RESEND_EVERY_S), asyncio.Event(), asyncio.Lock())

    return app


def main() -> None:
    """Run content intake until the process is signalled."""
    run(build, name="review")


if __name__ == "__main__":
    main()
