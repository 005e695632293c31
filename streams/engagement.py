"""Windowed aggregates of what readers and providers did: engagement.recorded.v1 -> publishing_analytics."""

from collections.abc import Mapping, Sequence
from typing import Any

from publishing.domain.windows import NO_WATERMARK, Frame, fold, frame_id
from publishing.runtime import metrics
from publishing.runtime.burial import pairs
from publishing.runtime.correlation import header
from publishing.runtime.failpoints import failpoint
from publishing.runtime.settings import Settings
from publishing.stores.engagement import Advance, apply_engagement, load_positions
from publishing.stores.offsets import Place
from schemas.errors import MalformedPayloadError
from schemas.frames import decode_frame
from streams.application import StreamApp, by_partition, create_app, raw_topic
from streams.guard import Batch, StreamRecord
from streams.serve import run
from topics.catalog import ENGAGEMENT_RECORDED

NAME = "engagement"
BATCH_RECORDS = 20
BATCH_WITHIN_S = 0.1
# Sources whose frames may come twice, as the outbox's relay sends what its writer may have sent already.
REPEATING_SOURCES = ("tidewire/ledger", "tidewire/outbox", "tidewire/spool")


def decode(record: StreamRecord) -> Frame:
    """The frame of a record; raises SchemaError, after which the guard buries it."""
    if record.value is None:
        raise MalformedPayloadError("has no value")
    frame = decode_frame(record.value)
    headers = pairs(record.headers)
    source, number = header(headers, "ce_source"), header(headers, "ce_id")
    repeats = source is not None and number is not None and source.startswith(REPEATING_SOURCES)
    identity = frame_id(source, number) if repeats and source is not None and number is not None else None
    return Frame(frame.events, frame.recorded_at_ms, int(record.timestamp * 1000), identity)


class Engagement:
    """The app's state: the watermark of each partition, loaded with its offset and moved with it."""

    def __init__(self, app: StreamApp) -> None:
        self._app = app
        self._watermarks: dict[Place, int] = {}
        app.fence.load_with(self.load)
        self._guard = app.guard(decode)

    async def load(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Offsets and watermarks of one snapshot."""
        found = await load_positions(self._app.pool, NAME, places)
        self._watermarks.update({place: position.watermark_ms for place, position in found.items()})
        return {place: position.next_offset for place, position in found.items()}

    async def take(self, events: Sequence[Any]) -> None:
        """Apply a batch of events, partition by partition; never raises."""
        failpoint("engagement.after_poll")
        for tp, records in by_partition(events).items():
            await self._guard.guarded(tp, records, self.write)

    async def write(self, batch: Batch[Frame]) -> bool:
        """Fold a batch and apply it in one statement; False when the fence was lost."""
        place = self._app.fence.place(batch.tp)
        folded = fold([item.value for item in batch.items], self._watermarks.get(place, NO_WATERMARK))
        failpoint("engagement.before_commit")
        applied = await apply_engagement(self._app.pool, Advance(NAME, place, batch.expected, batch.after), folded)
        failpoint("engagement.after_commit")
        if not applied.is_held:
            return False
        self._watermarks[place] = folded.watermark_ms
        metrics.LATE_EVENTS.inc(folded.late_events)
        metrics.CLAMPED_EVENTS.labels("future").inc(folded.clamped_future)
        metrics.CLAMPED_EVENTS.labels("past").inc(folded.clamped_past)
        metrics.REPEATED_EVENTS.labels("batch").inc(folded.repeated_events + folded.repeated_frames)
        metrics.REPEATED_EVENTS.labels("stored").inc(applied.repeated)
        metrics.SUPPRESSIONS.labels("stream").inc(applied.suppressed)
        return True


def build(settings: Settings) -> StreamApp:
    """The engagement app over its topic."""
    app = create_app(settings, NAME)
    engagement = Engagement(app)
    topic = raw_topic(app, settings, ENGAGEMENT_RECORDED)

    @app.agent(topic, name=NAME)
    async def count(stream: Any) -> None:
        async for events in stream.take_events(BATCH_RECORDS, within=BATCH_WITHIN_S):
            await engagement.take(events)

    return app


def main() -> None:
    """Run the engagement app until it is signalled."""
    run(build, name=NAME)


if __name__ == "__main__":
    main()
