"""The audience's shards against the real broker and database: what is planned, stored, produced and never repeated."""

import signal
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from publishing.runtime.clock import now_ms
from publishing.runtime.producer import open_producer, send_frame
from publishing.runtime.settings import Settings
from schemas.codec import decode
from schemas.frames import KIND_INDEX, VERDICT_INDEX, encode_frame, new_events
from schemas.messages import DeliveryRequested, EngagementKind, Verdict
from tests.fakes.audience_rows import (
    add_channel,
    add_content,
    add_publication,
    add_run,
    add_subscribers,
    send_changes,
    send_content,
    send_due,
)
from tests.fakes.streams_worker import eventually, stream_worker
from tests.fakes.topic_reader import drained
from topics.catalog import ALL, CHANGELOGS, DELIVERY, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

AUDIENCE = ("-m", "streams.audience")
MakeTopics = Callable[..., Awaitable[None]]
EMAIL = DELIVERY["email", "bulk"]
ALL_PLANS = "SELECT run_id, shard, chunk, frame, created_at FROM publishing_plans ORDER BY run_id, shard, chunk"


@pytest.fixture
async def all_topics(make_topics: MakeTopics) -> None:
    """Every topic of the installation."""
    await make_topics(*ALL, *CHANGELOGS)


async def conserved(pool: asyncpg.Pool, run_id: int) -> Any:
    """The run's row of the conservation view."""
    return await pool.fetchrow("SELECT * FROM analytics.conservation WHERE run_id = $1", run_id)


async def planned_by_all(pool: asyncpg.Pool, run_id: int) -> bool:
    """Whether every shard has planned the run and produced its frames."""
    row = await conserved(pool, run_id)
    unsent = await pool.fetchval("SELECT count(*) FROM publishing_plans WHERE emitted_at IS NULL")
    return bool(row is not None and row["planned_by_all"] and not unsent)


async def frames_of(settings: Settings, run_id: int, topic: Any = EMAIL) -> list[DeliveryRequested]:
    """The distinct frames of a run on a delivery topic, by shard and chunk."""
    found: dict[tuple[int, int], DeliveryRequested] = {}
    for record in await drained(settings, topic):
        frame = decode(record.value, DeliveryRequested)
        if frame.run_id == run_id:
            assert found.setdefault((frame.shard, frame.chunk), frame) == frame
            assert record.partition == frame.shard % 8
    return [found[key] for key in sorted(found)]


@pytest.mark.usefixtures("all_topics")
async def test_a_due_run_reaches_every_reader_of_its_audience(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """300 readers, half of them in the audience: 150 planned, 150 excluded, the view holds, the frames agree."""
    shards = settings.audience_shards
    changes = await add_subscribers(pool, 1, 300, shards=shards)
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 12)
    publication = await add_publication(
        pool, channels=[channel], audience={"attributes": {"plan": "pro"}}, selection={"count": 3}
    )
    run = await add_run(pool, publication, shards=shards)
    async with stream_worker(AUDIENCE, environment):
        await send_content(settings, batch)
        after = {shard: numbers[-1] for shard, numbers in changes.items()}
        await send_due(settings, publication, run, after_subscribers=after, after_content=batch.batch_id)
        await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard")
    row = await conserved(pool, run[0])
    assert row["holds"]
    assert (row["candidates"], row["planned"], row["excluded"]) == (300, 150, {"audience_filter": 150})
    frames = await frames_of(settings, run[0])
    assert sorted(number for frame in frames for number in frame.destinations) == list(range(1, 301, 2))
    topic_of = {item.content_id: next(iter(item.topics)) for item in batch.items}
    for frame in frames:
        lists = frame.content_ids * (len(frame.destinations) if len(frame.content_ids) == 1 else 1)
        for number, items in zip(frame.destinations, lists, strict=True):
            assert 1 <= len(items) <= 3
            assert topic_of[items[0]] == ("databases", "go", "rust")[number % 3]
    assert await pool.fetchval("SELECT count(*) FROM publishing_subscriber_state WHERE cardinality(recent) > 0") == 150


@pytest.mark.usefixtures("all_topics")
async def test_a_worker_killed_between_frames_leaves_the_rest_to_its_successor(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """Killed while it produces, a plan is produced to the end by the next worker, and nothing is planned twice."""
    shards = settings.audience_shards
    await add_subscribers(pool, 1, 300, shards=shards)
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 6)
    publication = await add_publication(pool, channels=[channel])
    run = await add_run(pool, publication, shards=shards)
    async with stream_worker(AUDIENCE, environment, failpoints="audience.between_frames:2:KILL") as first:
        await send_due(settings, publication, run, after_subscribers={}, after_content=batch.batch_id)
        assert await first.exited() == -signal.SIGKILL
        assert "HIT audience.between_frames" in first.lines
    assert await pool.fetchval("SELECT count(*) FROM publishing_plans WHERE emitted_at IS NULL") > 0
    before = await pool.fetch("SELECT run_id, shard, chunk, frame FROM publishing_plans ORDER BY run_id, shard, chunk")
    async with stream_worker(AUDIENCE, environment):
        await eventually(lambda: planned_by_all(pool, run[0]), what="the rest of the frames")
    after = await pool.fetch("SELECT run_id, shard, chunk, frame FROM publishing_plans ORDER BY run_id, shard, chunk")
    assert [row for row in after if row in before] == before
    row = await conserved(pool, run[0])
    assert row["holds"]
    assert row["planned"] == 300
    frames = await frames_of(settings, run[0])
    assert sorted(number for frame in frames for number in frame.destinations) == list(range(1, 301))


@pytest.mark.usefixtures("all_topics")
async def test_a_run_sees_the_subscribers_that_were_written_before_it(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """Readers whose change arrives after the due record are planned: the shard waits for their change number."""
    shards = settings.audience_shards
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 3)
    await add_subscribers(pool, 1, 40, shards=shards)
    publication = await add_publication(pool, channels=[channel])
    async with stream_worker(AUDIENCE, environment) as worker:
        await worker.wrote("shard.loaded", times=shards)
        changes = await add_subscribers(pool, 41, 140, shards=shards)
        run = await add_run(pool, publication, shards=shards)
        after = {shard: numbers[-1] for shard, numbers in changes.items()}
        await send_due(settings, publication, run, after_subscribers=after, after_content=batch.batch_id)
        await send_changes(settings, changes, 41, 140)
        await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard")
        assert not [line for line in worker.lines if "shard.reloaded_for_run" in line]
    assert (await conserved(pool, run[0]))["planned"] == 140


@pytest.mark.usefixtures("all_topics")
async def test_a_run_whose_changes_never_arrive_is_planned_from_the_database(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """When the changes are lost on the way, the shard reads itself again after ten seconds and plans everybody."""
    shards = settings.audience_shards
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    await add_content(pool, 3)
    publication = await add_publication(pool, channels=[channel])
    async with stream_worker(AUDIENCE, environment) as worker:
        await worker.wrote("shard.loaded", times=shards)
        changes = await add_subscribers(pool, 1, 80, shards=shards)
        batch = await add_content(pool, 3)
        run = await add_run(pool, publication, shards=shards)
        after = {shard: numbers[-1] for shard, numbers in changes.items()}
        await send_due(settings, publication, run, after_subscribers=after, after_content=batch.batch_id)
        await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard")
        await worker.wrote("shard.reloaded_for_run", times=shards)
    row = await conserved(pool, run[0])
    assert (row["candidates"], row["planned"], row["holds"]) == (80, 80, True)


@pytest.mark.usefixtures("all_topics")
async def test_a_content_batch_makes_one_run_that_every_shard_plans(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """A room gets every matching item once, readers theirs in the alert lane, and a batch seen twice makes one run."""
    shards = settings.audience_shards
    await add_subscribers(pool, 1, 60, shards=shards)
    mail = await add_channel(pool, "email", name="mail", shards=shards)
    room = await add_channel(
        pool, "slack", name="room", destination=1_001, shards=shards, topics={"databases": 1.0, "go": 1.0}
    )
    early = await add_content(pool, 2)
    await add_publication(
        pool,
        trigger="on_content",
        channels=[mail, room],
        content={"topics_any": ["databases", "rust"]},
        selection={"minimum_score": 0.7},
        priority="alert",
        after_content=early.batch_id,
    )
    batch = await add_content(pool, 9)
    async with stream_worker(AUDIENCE, environment):
        await send_content(settings, early)
        await send_content(settings, batch)
        await send_content(settings, batch)

        async def all_offsets() -> bool:
            done = await pool.fetchval("SELECT sum(next_offset) FROM stream_offsets WHERE topic = 'content.ready.v1'")
            return bool(done == 3 * shards)

        await eventually(all_offsets, what="every batch applied")
        runs = await pool.fetch("SELECT id, content_batch_id FROM publishing_runs")
        assert [row["content_batch_id"] for row in runs] == [batch.batch_id]
        await eventually(lambda: planned_by_all(pool, runs[0]["id"]), what="a plan of every shard")
    run_id = runs[0]["id"]
    row = await conserved(pool, run_id)
    assert row["holds"]
    assert row["candidates"] == 61
    # Readers of go find nothing above the minimum.
    assert row["planned"] == 41
    assert row["excluded"] == {"no_content": 20}
    rooms = await frames_of(settings, run_id, DELIVERY["slack", "alert"])
    wanted = {item.content_id for item in batch.items if "databases" in item.topics}
    assert [frame.destinations for frame in rooms] == [(1_001,)]
    assert set(rooms[0].content_ids[0]) == wanted
    mails = await frames_of(settings, run_id, DELIVERY["email", "alert"])
    assert sum(len(frame.destinations) for frame in mails) == 40
    assert await frames_of(settings, run_id) == []


@pytest.mark.usefixtures("all_topics")
@pytest.mark.parametrize(
    "point", ["audience.after_poll", "audience.before_plan", "audience.after_plan", "audience.after_emit"]
)
async def test_a_worker_killed_anywhere_plans_each_run_once(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool, point: str
) -> None:
    """Killed at each point of planning, the successor ends with one plan of each shard, conserved and produced."""
    shards = settings.audience_shards
    await add_subscribers(pool, 1, 40, shards=shards)
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 4)
    publication = await add_publication(pool, channels=[channel])
    run = await add_run(pool, publication, shards=shards)
    await send_due(settings, publication, run, after_subscribers={}, after_content=batch.batch_id)
    async with stream_worker(AUDIENCE, environment, failpoints=f"{point}:2:KILL") as first:
        assert await first.exited() == -signal.SIGKILL
        assert f"HIT {point}" in first.lines
    async with stream_worker(AUDIENCE, environment):
        await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard")
    row = await conserved(pool, run[0])
    assert (row["candidates"], row["planned"], row["holds"]) == (40, 40, True)
    frames = await frames_of(settings, run[0])
    assert sorted(number for frame in frames for number in frame.destinations) == list(range(1, 41))


@pytest.mark.usefixtures("all_topics")
async def test_the_pool_survives_a_restart_in_its_changelog_and_clicks_are_learned(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """A successor plans from the table alone, with what a click taught: the learned topic comes first."""
    shards = settings.audience_shards
    await add_subscribers(pool, 1, 8, shards=shards)
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 9, topics=("databases", "go", "sql"))
    publication = await add_publication(pool, channels=[channel], selection={"count": 1})
    sql = next(one.content_id for one in batch.items if "sql" in one.topics)
    events = new_events(1)
    events["occurred_at"], events["destination"], events["content_id"] = now_ms(), 2, sql
    events["kind"], events["verdict"] = KIND_INDEX[EngagementKind.CLICKED], VERDICT_INDEX[Verdict.HUMAN]
    async with stream_worker(AUDIENCE, environment) as first:
        await send_content(settings, batch)
        async with open_producer(settings) as producer:
            name = ENGAGEMENT_RECORDED.named(settings.topic_prefix)
            await send_frame(producer, name, encode_frame("test", now_ms(), events), partition=2 % shards)

        async def applied() -> bool:
            done = await pool.fetchval("SELECT sum(next_offset) FROM stream_offsets WHERE consumer = 'audience'")
            return bool(done == shards + 1)

        await eventually(applied, what="the content and the click")
        first.send(signal.SIGTERM)
        assert await first.exited() == 0
    learned = await pool.fetchval("SELECT learned FROM publishing_subscriber_state WHERE destination = 2")
    assert learned == {"sql": 0.125}
    await pool.execute("DELETE FROM publishing_content")
    await pool.execute("UPDATE publishing_subscribers SET topics = '{}' WHERE id = 2")
    run = await add_run(pool, publication, shards=shards)
    async with stream_worker(AUDIENCE, environment):
        await send_due(settings, publication, run, after_subscribers={}, after_content=batch.batch_id)
        await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard")
    row = await conserved(pool, run[0])
    assert (row["planned"], row["holds"]) == (8, True)
    chosen = await pool.fetchval("SELECT recent FROM publishing_subscriber_state WHERE destination = 2")
    assert "sql" in next(one.topics for one in batch.items if one.content_id == chosen[-1])


@pytest.mark.usefixtures("all_topics")
async def test_a_stopped_worker_that_comes_back_changes_nothing(
    settings: Settings, environment: dict[str, str], pool: asyncpg.Pool
) -> None:
    """Frozen before it stores a plan, replaced, and woken again: its write is fenced off, and each plan is one."""
    shards = settings.audience_shards
    await add_subscribers(pool, 1, 40, shards=shards)
    channel = await add_channel(pool, "email", name="mail", shards=shards)
    batch = await add_content(pool, 4)
    publication = await add_publication(pool, channels=[channel])
    run = await add_run(pool, publication, shards=shards)
    await send_due(settings, publication, run, after_subscribers={}, after_content=batch.batch_id)
    frozen = stream_worker(AUDIENCE, environment, instance="a", failpoints="audience.before_plan:1:STOP")
    async with frozen as first:
        await first.wrote("HIT audience.before_plan")
        await first.frozen()
        async with stream_worker(AUDIENCE, environment, instance="b"):
            await eventually(lambda: planned_by_all(pool, run[0]), what="a plan of every shard", deadline_s=60.0)
            plans = await pool.fetch(ALL_PLANS)
            first.send(signal.SIGCONT)
            await first.wrote("fence.lost")
    assert await pool.fetch(ALL_PLANS) == plans
    row = await conserved(pool, run[0])
    assert (row["candidates"], row["planned"], row["holds"]) == (40, 40, True)
