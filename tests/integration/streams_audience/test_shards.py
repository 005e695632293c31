"""A shard in memory equals what the database says of it, however it came about."""

from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import asyncpg
import numpy as np
import pytest
from faust.types import TP

from publishing.domain.matching import ReaderState
from publishing.domain.pool import POOL_HOURS, ChunkKey, hour_of
from publishing.runtime.clock import now_ms, utc_now
from publishing.stores import audience as store
from publishing.stores.offsets import Place, advance_offset
from schemas.frames import KIND_INDEX, VERDICT_INDEX, EventFrame, new_events
from schemas.messages import EngagementKind, Verdict
from streams.application import StreamApp
from streams.audience import TOPICS
from streams.catalogue import Catalogue, made_by_content
from streams.fenced import Fence
from streams.guard import Batch, Item
from streams.learning import Learning, clicks_of
from streams.pool import PoolTable
from streams.shards import Shard, Shards
from tests.fakes.audience_rows import add_channel, add_content, add_publication, add_subscribers
from tests.fakes.content_items import item
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

SHARDS = 4
NAMES = [topic.name for topic in TOPICS]
CLICKS = Place(ENGAGEMENT_RECORDED.name, 1)


def shards_of(pool: asyncpg.Pool, table: dict[bytes, bytes] | None = None) -> tuple[Shards, PoolTable]:
    """Shards over a dictionary in the table's place."""
    chunks = PoolTable(lambda: pool, {} if table is None else table)
    return Shards(lambda: pool, "audience", NAMES, chunks), chunks


def seen_of(shard: Shard) -> dict[int, Any]:
    """Everything that a shard knows of its readers, as plain values."""
    columns = shard.snapshot().columns
    return {
        int(number): (bool(columns.active[row]), int(columns.kinds[row]), shard.state_of(int(number)))
        for row, number in enumerate(columns.destinations)
    }


def frame(*clicks: tuple[int, int], kind: EngagementKind = EngagementKind.CLICKED, human: bool = True) -> EventFrame:
    """A frame of (destination, article) pairs."""
    events = new_events(len(clicks))
    events["occurred_at"] = now_ms()
    events["kind"] = KIND_INDEX[kind]
    events["verdict"] = VERDICT_INDEX[Verdict.HUMAN if human else Verdict.MACHINE]
    events["destination"] = [destination for destination, _ in clicks]
    events["content_id"] = [article for _, article in clicks]
    return EventFrame("test", now_ms(), events)


def batch_of(*frames: EventFrame, expected: int) -> Batch[EventFrame]:
    """A batch of the clicks' partition."""
    items = [Item(cast("Any", SimpleNamespace(offset=expected + n)), one) for n, one in enumerate(frames)]
    return Batch(TP(ENGAGEMENT_RECORDED.name, 1), expected, expected + len(frames), items)


async def learning_on(pool: asyncpg.Pool, shards: Shards) -> Learning:
    """Learning as the app sets it up."""
    app = SimpleNamespace(pool=pool, consumer_name="audience", fence=Fence("", cast("Any", None)))
    return Learning(cast("StreamApp", app), shards)


async def test_a_shard_is_loaded_once_with_its_marks_and_offsets(pool: asyncpg.Pool) -> None:
    """Rows, marks and offsets are of one moment; only the shard's own readers are in it."""
    await add_subscribers(pool, 1, 40, shards=SHARDS)
    batch = await add_content(pool, 5)
    assert await advance_offset(pool, "audience", CLICKS, expected=0, after=7)
    shards, _ = shards_of(pool)
    async with shards.held(1) as shard:
        assert list(seen_of(shard)) == list(range(1, 41, 4))
        assert shard.subscribers.value == 10
        assert shard.content.value == batch.batch_id
        assert shard.pool.versions() == {one.content_id: 1 for one in batch.items}
    assert shards.find(1) is shard
    assert shards.find(2) is None
    offsets = await shards.reload([CLICKS])
    assert offsets == {Place(name, 1): 7 if name == CLICKS.topic else 0 for name in NAMES}
    assert shards.find(1) is not shard
    shards.forget_all()
    assert shards.find(1) is None


async def test_a_shard_kept_by_changes_equals_one_loaded_again(pool: asyncpg.Pool) -> None:
    """Changed, new and gone readers, what was learned and what was sent: a reload shows the same."""
    await add_subscribers(pool, 1, 20, shards=SHARDS)
    shards, _ = shards_of(pool)
    async with shards.held(1) as shard:
        await add_subscribers(pool, 21, 24, shards=SHARDS)
        await pool.execute("UPDATE publishing_subscribers SET status = 'paused', topics = '{\"new\": 1}' WHERE id = 5")
        await pool.execute("DELETE FROM publishing_subscribers WHERE id = 9")
        readers = await store.readers_of(pool, 1, [5, 9, 21, 22])
        assert sorted(reader.destination for reader in readers) == [5, 21]
        shard.put(readers, {9, 22})
        states = {5: ReaderState(learned={"go": 0.5}, recent=(-3, 8))}
        learned = {5: store.Learned(states[5], 2)}
        assert await store.learn(pool, "audience", CLICKS, learned, expected=0, after=4)
        shard.learned(states)
        before = seen_of(shard)
    await shards.reload([CLICKS])
    async with shards.held(1) as again:
        assert seen_of(again) == before
        assert before[5] == (False, 1, states[5])
        assert sorted(before) == [1, 5, 13, 17, 21]
    assert not await store.learn(pool, "audience", CLICKS, learned, expected=0, after=5)


async def test_the_pool_is_what_the_table_holds_and_the_database_adds(pool: asyncpg.Pool) -> None:
    """Gaps of the table are filled from the database, and stored with the next frame of the partition."""
    batch = await add_content(pool, 6)
    table: dict[bytes, bytes] = {b"2:1:0": b"of another partition", b"1:999999:0": b"unreadable", b"1:no key": b""}
    shards, chunks = shards_of(pool, table)
    async with shards.held(1) as shard:
        assert len(shard.pool) == 6
        assert len(table) == 3
        old = ChunkKey(1, hour_of(utc_now()) - POOL_HOURS - 1, 0)
        table[old.encode()] = b"old"
        chunks.add(shard.pool, [item(1_000, published_at=utc_now())])
        assert old.encode() not in table
    await pool.execute("DELETE FROM publishing_content")
    table.pop(b"1:999999:0")
    others, _ = shards_of(pool, table)
    async with others.held(1) as shard:
        assert sorted(shard.pool.versions()) == [*sorted(one.content_id for one in batch.items), 1_000]


async def test_clicks_of_humans_are_learned_once_an_article(pool: asyncpg.Pool) -> None:
    """The article's topics are learned at the first human click; repeats, machines and opens teach nothing more."""
    await add_subscribers(pool, 1, 8, shards=SHARDS)
    first, second = (one.content_id for one in (await add_content(pool, 2, topics=("go", "sql"))).items)
    shards, _ = shards_of(pool)
    learning = await learning_on(pool, shards)
    ignored = [frame((1, first), human=False), frame((1, first), kind=EngagementKind.OPENED), frame((1, 0), (99, 1))]
    assert await learning.write(batch_of(*ignored, expected=0))
    assert await learning.write(batch_of(frame((1, first), (1, first), (5, second)), frame((1, first)), expected=3))
    assert await learning.write(batch_of(frame((1, first)), expected=5))
    rows = await pool.fetch("SELECT destination, learned, events, recent FROM publishing_subscriber_state ORDER BY 1")
    assert [tuple(row) for row in rows] == [(1, {"go": 0.125}, 4, [-first]), (5, {"sql": 0.125}, 1, [-second])]
    async with shards.held(1) as shard:
        assert shard.state_of(1) == ReaderState(learned={"go": 0.125}, recent=(-first,))
    assert not await learning.write(batch_of(frame((1, second)), expected=2))
    assert not await learning.write(batch_of(expected=2))
    async with shards.held(1) as shard:
        assert shard.state_of(1) == ReaderState(learned={"go": 0.125}, recent=(-first,))


async def test_clicks_on_forgotten_articles_are_looked_up(pool: asyncpg.Pool) -> None:
    """An article that the pool does not keep any more teaches by its row; one that does not exist teaches nothing."""
    await add_subscribers(pool, 1, 4, shards=SHARDS)
    (article,) = (one.content_id for one in (await add_content(pool, 1)).items)
    await pool.execute("UPDATE publishing_content SET published_at = now() - interval '400 days'")
    shards, _ = shards_of(pool)
    learning = await learning_on(pool, shards)
    assert await learning.write(batch_of(frame((1, article), (1, 10**12)), expected=0))
    row = await pool.fetchrow("SELECT learned, events FROM publishing_subscriber_state WHERE destination = 1")
    assert tuple(row or ()) == ({"databases": 0.125}, 2)


def test_clicks_are_counted_over_frames() -> None:
    """One counter over all frames of a batch."""
    assert clicks_of([frame((1, 2), (1, 2)), frame((1, 3))]) == Counter({(1, 2): 2, (1, 3): 1})
    assert clicks_of([EventFrame("test", 0, np.array(new_events(0)))]) == Counter()


async def test_the_catalogue_is_read_again_only_when_something_changed(pool: asyncpg.Pool) -> None:
    """One question a cause; a publication, channel or template that changed is seen by the next cause."""
    catalogue = Catalogue(lambda: pool)
    channel = await add_channel(pool, "email", name="mail", shards=SHARDS)
    number = await add_publication(pool, trigger="on_content", channels=[channel], after_content=4)
    rows = await catalogue.fresh_for(("batch", 5))
    assert [one.id for one in made_by_content(rows, 5)] == [number]
    assert made_by_content(rows, 4) == []
    assert await catalogue.fresh_for(("batch", 6)) is rows
    await pool.execute("UPDATE publishing_publications SET status = 'paused'")
    assert await catalogue.fresh_for(("batch", 6)) is rows
    paused = await catalogue.fresh_for(("batch", 7))
    assert paused is not rows
    assert made_by_content(paused, 7) == []
    await pool.execute(
        "INSERT INTO publishing_templates (id, version, kind, name, status, source)"
        " VALUES (3, 1, 'email', 't', 'published', '{}'), (3, 2, 'email', 't', 'draft', '{}')"
    )
    assert (await catalogue.fresh_for(("batch", 8))).template_versions == {3: 1}
    await add_channel(pool, "slack", name="room", destination=7, shards=SHARDS, topics=["go"])
    room = (await catalogue.fresh_for(("batch", 9))).channels[channel + 1]
    assert (room.destination, room.shard, room.topics, room.is_active) == (7, 3, {"go": 1.0}, True)
