"""Fills a database with subscribers, channels, content and runs, as the API and review would."""

import datetime as dt
from typing import Any

import asyncpg

from publishing.runtime.clock import utc_now
from publishing.runtime.producer import full_name, open_producer, send_frame
from publishing.runtime.settings import Settings
from publishing.stores.content import items_of
from schemas.codec import encode
from schemas.messages import ContentReady, Message, PublicationDue, SubscriberChange, SubscriberChanged
from topics.catalog import CONTENT_READY, PUBLICATION_DUE, SUBSCRIBER_CHANGED
from topics.model import Topic

TOPICS_OF = ("databases", "go", "rust")


async def add_subscribers(pool: asyncpg.Pool, first: int, last: int, *, shards: int) -> dict[int, list[int]]:
    """Insert readers numbered first..last, each of one topic; returns the change numbers by shard."""
    async with pool.acquire() as connection, connection.transaction():
        await connection.executemany(
            "INSERT INTO publishing_subscribers (id, shard, external_id, topics, channels, attributes)"
            " VALUES ($1, $2, $3, $4, $5, $6)",
            [
                (
                    number,
                    number % shards,
                    f"r{number}",
                    {TOPICS_OF[number % 3]: 1.0},
                    {"email": True},
                    {"plan": "pro" if number % 2 else "free"},
                )
                for number in range(first, last + 1)
            ],
        )
        rows = await connection.fetch(
            "INSERT INTO publishing_shard_marks AS m (shard, last_seq)"
            " SELECT id % $3, count(*) FROM generate_series($1::int, $2::int) id GROUP BY 1"
            " ON CONFLICT (shard) DO UPDATE SET last_seq = m.last_seq + excluded.last_seq RETURNING shard, last_seq",
            first,
            last,
            shards,
        )
    last_of = {row["shard"]: row["last_seq"] for row in rows}
    counts = {shard: sum(number % shards == shard for number in range(first, last + 1)) for shard in last_of}
    return {shard: list(range(last_of[shard] - counts[shard] + 1, last_of[shard] + 1)) for shard in last_of}


async def add_channel(
    pool: asyncpg.Pool, kind: str, *, name: str, destination: int | None = None, shards: int, topics: Any = None
) -> int:
    """Insert a channel; a destination makes it a room."""
    number: int = await pool.fetchval(
        "INSERT INTO publishing_channels (kind, name, config_sealed, topics, destination, shard)"
        " VALUES ($1, $2, '', $3, $4, $5) RETURNING id",
        kind,
        name,
        topics or {},
        destination,
        None if destination is None else destination % shards,
    )
    return number


async def add_publication(pool: asyncpg.Pool, *, trigger: str = "now", **definition: Any) -> int:
    """Insert a running publication."""
    number: int = await pool.fetchval(
        "INSERT INTO publishing_publications (name, status, definition, created_by)"
        " VALUES ('test', 'running', $1, 'test') RETURNING id",
        {"trigger": {"kind": trigger}, **definition},
    )
    return number


async def add_run(pool: asyncpg.Pool, publication: int, *, shards: int) -> tuple[int, dt.datetime]:
    """Insert a run that is due now; returns its number and its due time."""
    due_at = utc_now().replace(microsecond=0)
    number: int = await pool.fetchval(
        "INSERT INTO publishing_runs (publication_id, publication_version, due_at, shards)"
        " VALUES ($1, 1, $2, $3) RETURNING id",
        publication,
        due_at,
        shards,
    )
    return number, due_at


async def add_content(pool: asyncpg.Pool, count: int, *, topics: tuple[str, ...] = TOPICS_OF) -> ContentReady:
    """Insert items and the batch of them, as review does."""
    numbers = [
        row["id"]
        for row in await pool.fetch(
            "INSERT INTO publishing_content (source, external_id, version, type, title, summary, url, topics, language,"
            " priority, quality, published_at, submitted_at)"
            " SELECT 'wire', gen_random_uuid()::text, 1, 'article', 'Title', '', 'https://example.org', t.topics, 'en',"
            " 'bulk', 0.5, date_trunc('second', now()), date_trunc('second', now())"
            " FROM unnest($1::jsonb[]) AS t (topics) RETURNING id",
            [{topics[place % len(topics)]: 1.0} for place in range(count)],
        )
    ]
    batch_id = await pool.fetchval(
        "UPDATE publishing_content_mark SET last_batch_id = last_batch_id + 1 RETURNING last_batch_id"
    )
    items = await items_of(pool, numbers)
    await pool.execute(
        "INSERT INTO publishing_content_batches (batch_id, source_partition, items, emitted_at)"
        " VALUES ($1, 0, '[]', now())",
        batch_id,
    )
    return ContentReady(batch_id=batch_id, items=tuple(sorted(items, key=lambda item: item.content_id)))


async def send(settings: Settings, topic: Topic, messages: dict[int, list[Message]]) -> None:
    """Produce messages by partition."""
    async with open_producer(settings) as producer:
        for partition, some in messages.items():
            for message in some:
                await send_frame(producer, full_name(settings, topic), encode(message), partition=partition)


async def send_content(settings: Settings, batch: ContentReady) -> None:
    """Broadcast a batch to every shard."""
    await send(settings, CONTENT_READY, {shard: [batch] for shard in range(settings.audience_shards)})


async def send_due(
    settings: Settings,
    publication: int,
    run: tuple[int, dt.datetime],
    *,
    after_subscribers: dict[int, int],
    after_content: int = 0,
) -> None:
    """Tell every shard that a run is due."""
    await send(
        settings,
        PUBLICATION_DUE,
        {
            shard: [
                PublicationDue(
                    run_id=run[0],
                    publication_id=publication,
                    publication_version=1,
                    shard=shard,
                    due_at=run[1],
                    after_subscribers=after_subscribers.get(shard, 0),
                    after_content=after_content,
                )
            ]
            for shard in range(settings.audience_shards)
        },
    )


async def send_changes(settings: Settings, changes: dict[int, list[int]], first: int, last: int) -> None:
    """Tell the shards which readers changed."""
    shards = settings.audience_shards
    messages: dict[int, list[Message]] = {}
    for shard, numbers in changes.items():
        readers = [number for number in range(first, last + 1) if number % shards == shard]
        pairs = zip(readers, numbers, strict=True)
        messages[shard] = [
            SubscriberChanged(
                shard=shard,
                changes=tuple(SubscriberChange(destination=reader, seq=seq, version=1) for reader, seq in pairs),
            )
        ]
    await send(settings, SUBSCRIBER_CHANGED, messages)
