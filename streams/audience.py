"""Keeps the audience and plans over it: subscriber, content, publication and engagement records -> delivery.*."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from faust.types import TP

from publishing.runtime.failpoints import failpoint
from publishing.runtime.settings import Settings
from publishing.stores import audience as store
from publishing.stores.offsets import advance_offset
from schemas.codec import decode
from schemas.frames import decode_frame
from schemas.messages import ContentReady, Message, PublicationChanged, PublicationDue, SubscriberChanged
from streams.application import StreamApp, by_partition, create_app, raw_topic
from streams.guard import Batch, Guard, StreamRecord, Write
from streams.learning import Learning
from streams.loops import Loop, repeat
from streams.planner import Planner
from streams.pool import PoolTable
from streams.serve import run
from streams.shards import Shards
from topics.catalog import (
    CONTENT_READY,
    DELIVERY,
    ENGAGEMENT_RECORDED,
    PUBLICATION_CHANGED,
    PUBLICATION_DUE,
    SUBSCRIBER_CHANGED,
    TIDEWIRE_AUDIENCE_POOL_CHANGELOG,
)
from topics.model import Topic

TOPICS = (CONTENT_READY, PUBLICATION_DUE, SUBSCRIBER_CHANGED, PUBLICATION_CHANGED, ENGAGEMENT_RECORDED)
GATHER_RECORDS = 20
GATHER_S = 0.05
LOOK_EVERY_S = 1.0

M = TypeVar("M", bound=Message)
T = TypeVar("T")


class Audience:
    """What the agents of this process share."""

    def __init__(self, app: StreamApp, settings: Settings) -> None:
        # Both types say `raw`; anything else is written, and not read back at a recovery.
        table = app.Table("pool", partitions=settings.audience_shards, key_type=bytes, value_type=bytes)
        self._app = app
        self._owned: frozenset[int] = frozenset()
        chunks = PoolTable(lambda: app.pool, table)
        self.shards = Shards(lambda: app.pool, app.consumer_name, [topic.name for topic in TOPICS], chunks)
        self.planner = Planner(app, settings, self.shards, chunks)
        self.learning = Learning(app, self.shards)

    async def own(self, partitions: frozenset[TP]) -> None:
        """Start anew at an assignment: what others did to the shards meanwhile is in the database only."""
        self._owned = frozenset(tp.partition for tp in partitions)
        self.shards.forget_all()

    async def tend(self) -> None:
        """Load the shards that no record has loaded yet, and produce what earlier workers stored."""
        if self._app.rebalancing or not self._owned:
            return
        await self.planner.emission.look(self._owned)
        for number in sorted(self._owned):
            async with self.shards.held(number):
                pass

    async def write_subscribers(self, batch: Batch[SubscriberChanged]) -> bool:
        """Read the changed readers again and keep them; False when the fence is lost."""
        failpoint("audience.after_poll")
        number = batch.tp.partition
        changes = [change for item in batch.items for change in item.value.changes]
        numbers = sorted({change.destination for change in changes})
        async with self.shards.held(number) as shard:
            readers = await store.readers_of(self._app.pool, number, numbers) if numbers else []
            if not await self._advance(batch):
                return False
            shard.put(readers, set(numbers) - {reader.destination for reader in readers})
            shard.subscribers.apply(change.seq for change in changes)
        return True

    async def write_publications(self, batch: Batch[PublicationChanged]) -> bool:
        """See to it that the catalogue is read after the change; False when the fence is lost."""
        for item in batch.items:
            changed = item.value
            await self.planner.catalogue.fresh_for((changed.publication_id, changed.version, changed.status))
        return await self._advance(batch)

    async def _advance(self, batch: Batch[Any]) -> bool:
        place = self._app.fence.place(batch.tp)
        return await advance_offset(
            self._app.pool, self._app.consumer_name, place, expected=batch.expected, after=batch.after
        )


def message_of(message_type: type[M]) -> Callable[[StreamRecord], M]:
    """How records of a topic become its message; raises SchemaError, after which the guard buries the record."""

    def decoded(record: StreamRecord) -> M:
        return decode(record.value or b"", message_type)

    return decoded


def build(settings: Settings) -> StreamApp:
    """The app of the audience's shards."""
    app = create_app(settings, "audience")
    app.required_topics += [TIDEWIRE_AUDIENCE_POOL_CHANGELOG, *DELIVERY.values()]
    audience = Audience(app, settings)
    app.on_assigned(audience.own)
    app.fence.reload_with(audience.shards.reload)
    planner = audience.planner
    _add_agent(app, SUBSCRIBER_CHANGED, app.guard(message_of(SubscriberChanged)), audience.write_subscribers)
    _add_agent(app, PUBLICATION_CHANGED, app.guard(message_of(PublicationChanged)), audience.write_publications)
    _add_agent(app, PUBLICATION_DUE, app.guard(message_of(PublicationDue)), planner.write_due)
    engagement: Guard[Any] = app.guard(lambda record: decode_frame(record.value or b""))
    _add_agent(app, ENGAGEMENT_RECORDED, engagement, audience.learning.write)
    _add_content_agent(app, app.guard(message_of(ContentReady)), planner)

    @app.task  # type: ignore[untyped-decorator]  # faust's types
    async def tend() -> None:
        """Look after the shards."""
        # Faust cancels the task when the app stops.
        await repeat(Loop("audience.tend", audience.tend, LOOK_EVERY_S), asyncio.Event(), asyncio.Lock())

    return app


def _add_agent(app: StreamApp, topic: Topic, guard: Guard[T], write: Write[T]) -> None:
    """An agent that gathers records for a moment and writes each partition's at once."""

    async def apply(stream: Any) -> None:
        async for batch in stream.take_events(GATHER_RECORDS, within=GATHER_S):
            written: list[Awaitable[None]] = [
                guard.guarded(tp, records, write) for tp, records in by_partition(batch).items()
            ]
            await asyncio.gather(*written)

    app.agent(raw_topic(app, app.settings, topic), name=f"apply.{topic.name}")(apply)


def _add_content_agent(app: StreamApp, guard: Guard[ContentReady], planner: Planner) -> None:
    """An agent that matches frame by frame: a table is written in the partition of the event at hand."""

    async def match(stream: Any) -> None:
        async for event in stream.events():
            await guard.guarded(event.message.tp, [event.message], planner.write_content)

    app.agent(raw_topic(app, app.settings, CONTENT_READY), name="match")(match)


def main() -> None:
    """Keep the audience until the process is signalled."""
    run(build, name="audience")


if __name__ == "__main__":
    main()
