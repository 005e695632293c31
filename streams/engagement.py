"""Windowed aggregates of what readers and providers did: engagement.recorded.v1 -> publishing_analytics."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from faust.types import TP

from publishing.domain.windows import NO_WATERMARK, Folded, Frame, Stretch, fold_stretches, frame_id, stretch_of
from publishing.runtime import metrics
from publishing.runtime.burial import pairs
from publishing.runtime.clock import monotonic_s
from publishing.runtime.correlation import header
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.settings import Settings
from publishing.stores.engagement import Advance, Applied, RepeatedIdError, apply_partitions, known_ids, load_positions
from publishing.stores.offsets import Place
from schemas.errors import MalformedPayloadError
from schemas.frame_runs import decode_frames
from schemas.frames import decode_frame
from streams.application import StreamApp, create_app, raw_topic
from streams.gathering import PolledRecord, by_gathered_partition, singles
from streams.guard import WRITE_LIMIT_S, Batch, StreamRecord
from streams.live import Live, opened_live
from streams.serve import run
from topics.catalog import ENGAGEMENT_RECORDED

NAME = "engagement"
# A statement costs some ms whatever it holds: it takes what has come within this time, and of a backlog what is at
# most a second's work: 32 parts of 64 KiB are 43,000 events.
BATCH_WITHIN_S = 0.2
BATCH_PARTS = 32
PART_BYTES = 65_536
OPTIONS: Mapping[str, Any] = {
    # What waits for the agent is bounded in parts: Faust then stops reading, and a backlog stays on the broker.
    "stream_buffer_maxsize": 2 * BATCH_PARTS,
    "broker_max_poll_records": 2_000,
}
# Sources whose frames may come twice, as the outbox's relay sends what its writer may have sent already.
REPEATING_SOURCES = ("tidewire/ledger", "tidewire/outbox", "tidewire/spool")
_REPEATING_SOURCES = tuple(source.encode() for source in REPEATING_SOURCES)

log = get_logger(__name__)


def decode(record: StreamRecord) -> Frame:
    """The frame of a record; raises SchemaError, after which the guard buries it."""
    if record.value is None:
        raise MalformedPayloadError("has no value")
    frame = decode_frame(record.value)
    identity = identity_of(pairs(record.headers))
    return Frame(frame.events, frame.recorded_at_ms, int(record.timestamp * 1000), identity)


def identity_of(headers: Sequence[tuple[str, bytes]]) -> bytes | None:
    """The id of a frame that is deduplicated whole, from its record's headers; None for one that comes once."""
    source, number = header(headers, "ce_source"), header(headers, "ce_id")
    if source is None or number is None or not source.startswith(REPEATING_SOURCES):
        return None
    return frame_id(source, number)


def stretch(records: Sequence[PolledRecord]) -> Stretch | None:
    """The frames of records, decoded at once; None where one of them has to be looked at alone."""
    run_of_frames = decode_frames([record.value for record in records])
    if run_of_frames is None:
        return None
    ids = {}
    for number, record in enumerate(records):
        for name, value in record.headers:
            if name == "ce_source" and value is not None and value.startswith(_REPEATING_SOURCES):
                identity = identity_of(record.headers)
                if identity is not None:
                    ids[number] = identity
                break
    appended = np.array([record.timestamp for record in records], np.int64)
    return Stretch(run_of_frames.events, run_of_frames.counts, run_of_frames.recorded_at_ms, appended, ids)


class Part(NamedTuple):
    """What one statement applies of one partition."""

    tp: TP
    advance: Advance
    stretch: Stretch


class Engagement:
    """The app's state: the watermark of each partition, loaded with its offset and moved with it."""

    def __init__(self, app: StreamApp, live: Live) -> None:
        self._app = app
        self._live = live
        self._watermarks: dict[Place, int] = {}
        self._meets_repeats = False
        app.fence.load_with(self.load)
        self._guard = app.guard(decode)

    async def load(self, places: Sequence[Place]) -> Mapping[Place, int]:
        """Offsets and watermarks of one snapshot."""
        found = await load_positions(self._app.pool, NAME, places)
        self._watermarks.update({place: position.watermark_ms for place, position in found.items()})
        return {place: position.next_offset for place, position in found.items()}

    async def take(self, events: Sequence[Any]) -> None:
        """Apply a batch of events: all partitions in one statement, or each alone where that fails; never raises."""
        failpoint("engagement.after_poll")
        taken = by_gathered_partition(events)
        if not await self._at_once(taken):
            for tp, records in taken.items():
                await self._guard.guarded(tp, singles(records), self.write)

    async def _at_once(self, taken: Mapping[TP, Sequence[PolledRecord]]) -> bool:
        """One try at one statement; False where anything at all is in its way, which the guard then settles."""
        started_s = monotonic_s()
        try:
            async with asyncio.timeout(WRITE_LIMIT_S):
                parts = self._parts(taken)
                if parts is None or (parts and not await self._write(parts, presume_new=True)):
                    return False
        except Exception as error:  # noqa: BLE001 - nothing may leave an agent's body: Faust would drop the batch
            metrics.RETRIES.labels(NAME).inc()
            log.warning("batch.divided", error=type(error).__name__)
            return False
        records = sum(len(part.stretch.counts) for part in parts)
        replayed = sum(len(records) for records in taken.values()) - records
        for outcome, count in (("applied", records), ("replayed", replayed)):
            if count:
                metrics.RECORDS.labels(NAME, ENGAGEMENT_RECORDED.name, outcome).inc(count)
        for part in parts:
            self._app.fence.advanced(part.tp, part.advance.after)
        self._app.limit.note_good(records, now_s=monotonic_s())
        metrics.BATCH_SECONDS.labels(NAME).observe(monotonic_s() - started_s)
        return True

    def _parts(self, taken: Mapping[TP, Sequence[PolledRecord]]) -> Sequence[Part] | None:
        fence = self._app.fence
        parts = []
        for tp, records in taken.items():
            if not fence.is_loaded(tp):
                return None
            expected = fence.expected(tp)
            due = records if records[0].offset >= expected else [r for r in records if r.offset >= expected]
            if not due:
                continue
            decoded = stretch(due)
            if decoded is None:
                return None
            parts.append(Part(tp, Advance(NAME, fence.place(tp), expected, due[-1].offset + 1), decoded))
        return parts

    async def write(self, batch: Batch[Frame]) -> bool:
        """Fold a batch of one partition and apply it in one statement; False when the fence was lost."""
        advance = Advance(NAME, self._app.fence.place(batch.tp), batch.expected, batch.after)
        part = Part(batch.tp, advance, stretch_of([item.value for item in batch.items]))
        return await self._write([part], presume_new=False)

    async def _write(self, parts: Sequence[Part], *, presume_new: bool) -> bool:
        folded = await self._fold(parts, presume_new=presume_new)
        failpoint("engagement.before_commit")
        advances = [part.advance for part in parts]
        try:
            applied = await apply_partitions(self._app.pool, advances, folded, presumed_new=presume_new)
        except RepeatedIdError:
            if self._meets_repeats:
                raise
            self._meets_repeats = True
            return await self._write(parts, presume_new=presume_new)
        failpoint("engagement.after_commit")
        if not applied.is_held:
            return False
        places = [part.advance.place for part in parts]
        self._watermarks.update(zip(places, folded.watermarks_ms, strict=True))
        self._applied(folded, applied)
        return True

    async def _fold(self, parts: Sequence[Part], *, presume_new: bool) -> Folded:
        """Fold, without what the database has counted already: it is asked only while repeats come."""
        marks = [self._watermarks.get(part.advance.place, NO_WATERMARK) for part in parts]
        stretches = [part.stretch for part in parts]
        folded = fold_stretches(stretches, marks, presume_new=presume_new)
        if not presume_new or not self._meets_repeats or not folded.ids["unit"]:
            return folded
        known = await known_ids(self._app.pool, folded.ids)
        self._meets_repeats = bool(known)
        return fold_stretches(stretches, marks, presume_new=True, known=known) if known else folded

    def _applied(self, folded: Folded, applied: Applied) -> None:
        metrics.LATE_EVENTS.inc(folded.late_events)
        metrics.CLAMPED_EVENTS.labels("future").inc(folded.clamped_future)
        metrics.CLAMPED_EVENTS.labels("past").inc(folded.clamped_past)
        metrics.REPEATED_EVENTS.labels("batch").inc(folded.repeated_events + folded.repeated_frames)
        metrics.REPEATED_EVENTS.labels("stored").inc(applied.repeated)
        metrics.SUPPRESSIONS.labels("stream").inc(applied.suppressed)
        if folded.events:
            publications = set(folded.dimensions["publication_id"])
            self._live.changed(publications, watermark_ms=min(self._watermarks.values()), events=folded.events)


def build(settings: Settings) -> StreamApp:
    """The engagement app over its topic."""
    app = create_app(settings, NAME, **OPTIONS)
    engagement = Engagement(app, opened_live(settings))
    topic = raw_topic(app, settings, ENGAGEMENT_RECORDED)
    app.fence.gather(ENGAGEMENT_RECORDED, PART_BYTES)

    @app.agent(topic, name=NAME)
    async def count(stream: Any) -> None:
        async for events in stream.take_events(BATCH_PARTS, within=BATCH_WITHIN_S):
            await engagement.take(events)

    return app


def main() -> None:
    """Run the engagement app until it is signalled."""
    run(build, name=NAME)


if __name__ == "__main__":
    main()
