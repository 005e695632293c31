"""What feed channels show: publishing_feed_entries, one entry an article."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

Pool: TypeAlias = asyncpg.Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedEntry:
    """One article of a feed; `guid` is `<channel>-<content>`, `entry` the fields that a feed's formats share."""

    guid: str
    content_id: int
    entry: Mapping[str, Any]
    published_at: datetime


async def add(pool: Pool, *, channel_id: int, run_id: int, entries: Sequence[FeedEntry]) -> None:
    """Write the entries of one delivery in one statement; again is the same as once."""
    await pool.execute(
        SQL.add,
        channel_id,
        run_id,
        [e.guid for e in entries],
        [e.content_id for e in entries],
        [json.dumps(dict(e.entry)) for e in entries],
        [e.published_at for e in entries],
    )


async def newest(pool: Pool, channel_id: int, *, limit: int) -> list[FeedEntry]:
    """The newest entries of a feed, the newest first."""
    rows = await pool.fetch(SQL.newest, channel_id, limit)
    return [
        FeedEntry(guid=row["guid"], content_id=row["content_id"], entry=row["entry"], published_at=row["published_at"])
        for row in rows
    ]
