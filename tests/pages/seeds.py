"""A publishing house's last week: publications, runs, channels, windows and positions, the same at every seeding."""

import datetime as dt
import math
from collections.abc import Iterator
from typing import Any

import asyncpg

CHANNELS = (
    ("email", "Subscribers by e-mail"),
    ("slack", "#engineering-news"),
    ("discord", "Community"),
    ("webhook", "Partner intake"),
    ("feed", "Public feed"),
)
PUBLICATIONS = (("Weekly briefing", "scheduled"), ("Morning digest", "running"), ("Incident alerts", "running"))
ARTICLES = (
    "Vacuum, freeze, and what your database does at night",
    "A week with structured concurrency",
    "The queue was never the bottleneck",
    "Reading a flame graph in five minutes",
    "Why the second data centre is the hard one",
)
HOURS = 7 * 24
Window = tuple[Any, ...]


async def seed(pool: asyncpg.Pool, now: dt.datetime) -> None:
    """Fill the tables that the dashboard reads."""
    for number, (kind, name) in enumerate(CHANNELS, start=1):
        await pool.execute(
            "INSERT INTO publishing_channels (kind, name, config_sealed, destination, shard)"
            " VALUES ($1, $2, '', $3, $4)",
            kind,
            name,
            None if kind == "email" else 900 + number,
            None if kind == "email" else number % 4,
        )
    for name, status in PUBLICATIONS:
        await pool.execute(
            "INSERT INTO publishing_publications (name, status, definition, created_by)"
            ' VALUES ($1, $2, \'{"trigger": {"kind": "at"}}\', \'tests\')',
            name,
            status,
        )
    await _seed_runs(pool, now)
    await _seed_links(pool, now)
    await pool.executemany(
        "INSERT INTO publishing_analytics (grain, window_start, publication_id, run_id, channel_id, arm, kind, verdict,"
        " total, uniques, late, revision, first_at, last_at)"
        " VALUES ($1, $2, $3, $4, $5, 0, $6, $7, $8, $9, 0, 0, $2, $2)",
        list(windows(now)),
    )
    await pool.executemany(
        "INSERT INTO publishing_watermarks (consumer, partition, watermark) VALUES ('engagement', $1, $2)",
        [(partition, now - dt.timedelta(minutes=5, seconds=2 + partition)) for partition in range(4)],
    )
    await pool.executemany(
        "INSERT INTO stream_offsets (consumer, topic, partition, next_offset, updated_at) VALUES ($1, $2, $3, $4, $5)",
        [
            (consumer, topic, partition, 0, now - dt.timedelta(seconds=seconds))
            for consumer, topic, seconds in (
                ("engagement", "engagement.recorded.v1", 2),
                ("audience", "content.ready.v1", 40),
                ("audience", "engagement.recorded.v1", 3),
                ("review", "content.submitted.v1", 95),
            )
            for partition in range(4)
        ],
    )


async def _seed_links(pool: asyncpg.Pool, now: dt.datetime) -> None:
    for number, title in enumerate(ARTICLES, start=1):
        await pool.execute(
            "INSERT INTO publishing_content (source, external_id, version, type, title, summary, url, topics, language,"
            " priority, quality, published_at, submitted_at)"
            " VALUES ('newsroom', $1, 1, 'article', $2, '', $3, '{}', 'en', 'bulk', 0.8, $4, $4)",
            str(number),
            title,
            f"https://www.example.org/{number}",
            now,
        )
        await pool.executemany(
            "INSERT INTO publishing_link_clicks VALUES (1, 1, $1, $2, $3, $4)",
            [(number, number - 1, "human", 3_000 // number**2), (number, number - 1, "machine", 40 * number)],
        )


async def _seed_runs(pool: asyncpg.Pool, now: dt.datetime) -> None:
    for number, (publication, planned, days, status) in enumerate(
        (
            (1, 48_000, 6, "done"),
            (2, 12_400, 3, "done"),
            (2, 12_650, 1, "done"),
            (3, 640, 2, "done"),
            (2, 9_000, 0, "running"),
        ),
        start=1,
    ):
        created_at = now - dt.timedelta(days=days, minutes=30)
        await pool.execute(
            "INSERT INTO publishing_runs (run_day, publication_id, publication_version, due_at, shards, status,"
            " created_at) VALUES (($2::timestamptz AT TIME ZONE 'UTC')::date, $1, 1, $2, 4, $3, $2)",
            publication,
            created_at,
            status,
        )
        await pool.executemany(
            "INSERT INTO publishing_run_shards (run_id, shard, candidates, planned) VALUES ($1, $2, $3, $3)",
            [(number, shard, planned // 4) for shard in range(4)],
        )
    await pool.execute(
        "INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk,"
        " lane, state, content_ids, scores) SELECT run_day, 5, 1, n, 2, n % 4, 0, 'bulk',"
        " CASE WHEN n <= 1800 THEN 'accepted' ELSE 'submitted' END, '{1}', '{1}'"
        " FROM publishing_runs, generate_series(1, 2400) n WHERE id = 5"
    )


def windows(now: dt.datetime) -> Iterator[Window]:
    """Windows of hours, and of days that are their sums: sends in the morning, readers through the day."""
    days: dict[Window, list[int]] = {}
    this_hour = now.replace(minute=0, second=0, microsecond=0)
    for back in range(HOURS):
        at = this_hour - dt.timedelta(hours=back)
        for publication, run, channel, kind, verdict, total, uniques in _hour(at):
            if total:
                yield ("hour", at, publication, run, channel, kind, verdict, total, uniques)
                day = ("day", at.replace(hour=0), publication, run, channel, kind, verdict)
                sums = days.setdefault(day, [0, 0])
                sums[0] += total
                sums[1] += uniques
    for key, (total, uniques) in days.items():
        yield (*key, total, uniques)


def _hour(at: dt.datetime) -> Iterator[Window]:
    """What one hour brought; every figure follows from the hour and the weekday."""
    day, hour = at.toordinal(), at.hour
    awake = max(0.0, math.sin((hour - 5) / 24 * 2 * math.pi + 0.3)) * (0.6 + 0.1 * (day % 5))
    sent = {7: 5_200, 8: 2_300}.get(hour, 0) + (1_400 if hour == 16 and day % 2 else 0)
    yield (1, 1, 1, "accepted", "unknown", sent, 0)
    yield (1, 1, 1, "delivered", "unknown", round(sent * 0.985), 0)
    yield (1, 1, 1, "bounced", "unknown", sent // 240, 0)
    yield (1, 1, 1, "complained", "unknown", sent // 4_000, 0)
    for publication, share in ((1, 0.7), (2, 0.3)):
        opened, clicked = round(940 * awake * share), round(210 * awake * share)
        yield (publication, publication, 1, "opened", "human", opened, round(opened * 0.72))
        yield (publication, publication, 1, "clicked", "human", clicked, round(clicked * 0.8))
        yield (publication, publication, 1, "opened", "machine", round(sent * 0.31 * share), round(sent * 0.3 * share))
        yield (
            publication,
            publication,
            1,
            "clicked",
            "machine",
            round(sent * 0.05 * share),
            round(sent * 0.04 * share),
        )
        yield (publication, publication, 1, "unsubscribed", "human", round(4 * awake * share), round(4 * awake * share))
    for channel, count in ((2, 6), (3, 4), (4, 9), (5, 5)):
        posts = count if hour % 6 == channel % 6 else 0
        yield (3, 4, channel, "accepted", "unknown", posts, 0)
        yield (3, 4, channel, "failed", "unknown", posts // 9, 0)
