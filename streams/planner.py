"""Plans the runs of a shard: publication.due.v1 and content.ready.v1 -> publishing_plans."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Sequence

from publishing.domain import ranking
from publishing.domain.matching import content_matches
from publishing.domain.planning import Order, Plan, deadline_of, plan
from publishing.domain.publications import Publication
from publishing.runtime import metrics
from publishing.runtime.burial import PoisonError, pairs
from publishing.runtime.clock import monotonic_s
from publishing.runtime.correlation import accept_traceparent, header
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.settings import Settings
from publishing.stores import audience, plans
from publishing.stores.audience import CatalogueRows
from publishing.stores.plans import Encoded, Step
from schemas.codec import encode
from schemas.messages import ContentItem, ContentReady, PublicationDue
from streams.application import StreamApp
from streams.catalogue import Catalogue, made_by_content
from streams.emission import Emission
from streams.guard import Batch
from streams.pool import PoolTable
from streams.shards import Shards, ShardSnapshot, rings_after
from topics.catalog import DELIVERY

WAIT_LIMIT_S = 10.0
"""How long a due run waits for the changes it must see; after that the shard is read from the database instead."""

LOOK_EVERY_S = 0.02
RINGS_AT_ONCE = 500
"""Destinations whose rings are made between two pauses: some five milliseconds."""

MAX_KNOWN_RUNS = 4_096

log = get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class Planned:
    """A plan of a run, and the kinds of the channels that its frames go to."""

    order: Order
    plan: Plan


class Planner:
    """Plans over snapshots of the shards, a few milliseconds at a time, and stores under the fence."""

    def __init__(self, app: StreamApp, settings: Settings, shards: Shards, table: PoolTable) -> None:
        self._app = app
        self._settings = settings
        self._shards = shards
        self._table = table
        self._terms = ranking.load()
        self._content_runs: dict[tuple[int, int], plans.ContentRun] = {}
        self.catalogue = Catalogue(lambda: app.pool)
        self.emission = Emission(lambda: app.pool, lambda: app.frame_producer, settings.topic_prefix)

    async def write_due(self, batch: Batch[PublicationDue]) -> bool:
        """Plan each due run once its shard has applied what the run must see; False when the fence is lost."""
        failpoint("audience.after_poll")
        expected = batch.expected
        last = len(batch.items) - 1
        for place, item in enumerate(batch.items):
            started_s = monotonic_s()
            accept_traceparent(header(pairs(item.record.headers), "traceparent"))
            await self._wait(batch, item.value)
            order = await self._due_order(item.value)
            async with self._shards.held(order.shard) as shard:
                snapshot, items = shard.snapshot(), shard.pool.items()
            planned = Planned(order, await self._plan(order, snapshot, items))
            after = batch.after if place == last else item.offset + 1
            if not await self._store(self._step(batch, expected, after), order.shard, [planned]):
                return False
            metrics.PLAN_SECONDS.labels("due").observe(monotonic_s() - started_s)
            expected = after
        if batch.items:
            return True
        return await self._store(self._step(batch, expected, batch.after), batch.tp.partition, [])

    async def write_content(self, batch: Batch[ContentReady]) -> bool:
        """Take a content batch into the pool and plan what it makes runs of; False when the fence is lost."""
        failpoint("audience.after_poll")
        started_s = monotonic_s()
        number = batch.tp.partition
        planned: list[Planned] = []
        for item in batch.items:
            accept_traceparent(header(pairs(item.record.headers), "traceparent"))
            async with self._shards.held(number) as shard:
                self._table.add(shard.pool, item.value.items)
                shard.content.apply([item.value.batch_id])
                snapshot = shard.snapshot()
            planned += await self._plan_content(number, item.value, snapshot)
        is_held = await self._store(self._step(batch, batch.expected, batch.after), number, planned)
        if planned:
            metrics.PLAN_SECONDS.labels("content").observe(monotonic_s() - started_s)
        return is_held

    async def _wait(self, batch: Batch[PublicationDue], due: PublicationDue) -> None:
        number = batch.tp.partition
        if due.shard != number:
            raise PoisonError("wrong_shard")
        deadline_s = monotonic_s() + WAIT_LIMIT_S
        async with self._shards.held(number):
            pass
        while not self._has_applied(number, due):
            if monotonic_s() >= deadline_s:
                log.warning("shard.reloaded_for_run", shard=number, run_id=due.run_id)
                await self._app.fence.reload(batch.tp)
                return
            await asyncio.sleep(LOOK_EVERY_S)

    def _has_applied(self, number: int, due: PublicationDue) -> bool:
        shard = self._shards.find(number)
        return (
            shard is not None
            and shard.subscribers.reached(due.after_subscribers)
            and shard.content.reached(due.after_content)
        )

    async def _due_order(self, due: PublicationDue) -> Order:
        rows = await self.catalogue.fresh_for(("run", due.run_id))
        publication = rows.publications.get(due.publication_id)
        if publication is None:
            publication = await audience.find_publication(self._app.pool, due.publication_id)
        if publication is None:
            raise PoisonError("unknown_publication")
        deadline_at = due.deadline_at or deadline_of(publication, due.due_at)
        return _order(rows, publication, (due.run_id, due.shard), as_of=due.due_at, deadline_at=deadline_at)

    async def _plan_content(self, number: int, batch: ContentReady, snapshot: ShardSnapshot) -> list[Planned]:
        rows = await self.catalogue.fresh_for(("batch", batch.batch_id))
        as_of = max((item.submitted_at for item in batch.items), default=None)
        planned: list[Planned] = []
        for publication in made_by_content(rows, batch.batch_id):
            matching = [item for item in batch.items if as_of and content_matches(publication.content, item, as_of)]
            if as_of is None or not matching:
                continue
            run = await self._content_run(publication, batch.batch_id, deadline_of(publication, as_of))
            order = _order(rows, publication, (run.id, number), as_of=as_of, deadline_at=run.deadline_at)
            if planned:
                snapshot = snapshot.after(planned[-1].plan.sent)
            planned.append(Planned(order, await self._plan(order, snapshot, matching)))
        return planned

    async def _content_run(
        self, publication: Publication, batch_id: int, deadline_at: dt.datetime | None
    ) -> plans.ContentRun:
        key = (publication.id, batch_id)
        if key not in self._content_runs:
            self._content_runs[key] = await plans.content_run(
                self._app.pool,
                (publication.id, publication.version),
                batch_id,
                shards=self._settings.audience_shards,
                deadline_at=deadline_at,
            )
            if len(self._content_runs) > MAX_KNOWN_RUNS:
                self._content_runs.pop(next(iter(self._content_runs)))
        return self._content_runs[key]

    async def _plan(self, order: Order, snapshot: ShardSnapshot, items: Sequence[ContentItem]) -> Plan:
        failpoint("audience.before_plan")
        steps = plan(order, snapshot, items, self._terms)
        while True:
            try:
                next(steps)
            except StopIteration as end:
                made: Plan = end.value
                return made
            await asyncio.sleep(0)

    def _step(self, batch: Batch[PublicationDue] | Batch[ContentReady], expected: int, after: int) -> Step:
        return Step(self._app.consumer_name, self._app.fence.place(batch.tp), expected, after)

    async def _store(self, step: Step, number: int, planned: Sequence[Planned]) -> bool:
        encoded = [await _encoded(one, number) for one in planned]
        async with self._shards.held(number) as shard:
            rings = await _rings(shard.snapshot(), planned)
            written = await plans.store(self._app.pool, step, encoded, rings)
            if written.is_held and written.runs:
                shard.remembered(rings)
        if not written.is_held:
            return False
        failpoint("audience.after_plan")
        for one in planned:
            if one.order.run_id in written.runs:
                _count(one)
        if written.runs:
            self.emission.wake(number)
        return True


def _order(
    rows: CatalogueRows,
    publication: Publication,
    run: tuple[int, int],
    *,
    as_of: dt.datetime,
    deadline_at: dt.datetime | None,
) -> Order:
    run_id, shard = run
    return Order(
        run_id=run_id,
        shard=shard,
        publication=publication,
        as_of=as_of,
        channels=[rows.channels[number] for number in dict.fromkeys(publication.channels) if number in rows.channels],
        deadline_at=deadline_at,
        template_version=rows.template_versions.get(publication.template_id, 0),
    )


async def _encoded(planned: Planned, shard: int) -> Encoded:
    kinds = {channel.id: channel.kind for channel in planned.order.channels}
    topics = [DELIVERY[kinds[frame.channel_id], frame.lane.value] for frame in planned.plan.frames]
    frames = []
    for frame in planned.plan.frames:
        frames.append(encode(frame))
        await asyncio.sleep(0)
    partition = shard % (topics[0].partition_count(1) if topics else 1)
    return Encoded(planned.order.run_id, planned.plan, frames, [topic.name for topic in topics], partition)


async def _rings(snapshot: ShardSnapshot, planned: Sequence[Planned]) -> dict[int, tuple[int, ...]]:
    rings: dict[int, tuple[int, ...]] = {}
    for one in planned:
        sent = list(one.plan.sent.items())
        for start in range(0, len(sent), RINGS_AT_ONCE):
            rings.update(rings_after(snapshot, dict(sent[start : start + RINGS_AT_ONCE]), rings))
            await asyncio.sleep(0)
    return rings


def _count(planned: Planned) -> None:
    for frame in planned.plan.frames:
        metrics.PLANNED.labels(frame.lane.value).inc(len(frame.destinations))
    for reason, readers in planned.plan.excluded.items():
        metrics.EXCLUDED.labels(reason).inc(readers)
