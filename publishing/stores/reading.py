"""What a sink reads to render: the texts of content and the configuration of channels."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

Pool: TypeAlias = asyncpg.Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentTexts:
    """The texts of one content item; `topics` with the heaviest first."""

    id: int
    version: int
    title: str
    summary: str
    url: str
    author: str | None
    language: str
    topics: tuple[str, ...]
    published_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class ContentRead:
    """What is now true of the items asked for: their versions, and the texts that the caller did not have."""

    versions: Mapping[int, int]
    texts: Mapping[int, ContentTexts]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRow:
    """A channel as it is stored; the configuration is sealed under `channels.config_label`."""

    id: int
    kind: str
    name: str
    version: int
    limits: Mapping[str, Any]
    config_sealed: bytes = field(repr=False)


async def read_content(pool: Pool, known: Mapping[int, int]) -> ContentRead:
    """Read items by id, given the versions at hand (0 for none); retracted and unknown items are left out."""
    rows = await pool.fetch(SQL.content, list(known), list(known.values()))
    rows = [row for row in rows if not row["retracted"]]
    return ContentRead(
        versions={row["id"]: row["version"] for row in rows},
        texts={row["id"]: _texts(row) for row in rows if not row["is_known"]},
    )


def _texts(row: asyncpg.Record) -> ContentTexts:
    weights: Mapping[str, float] = row["topics"]
    return ContentTexts(
        id=row["id"],
        version=row["version"],
        title=row["title"],
        summary=row["summary"],
        url=row["url"],
        author=row["author"],
        language=row["language"],
        topics=tuple(sorted(weights, key=lambda topic: (-weights[topic], topic))),
        published_at=row["published_at"],
    )


async def read_channel(pool: Pool, channel_id: int) -> ChannelRow | None:
    """Read a channel of any status, None when there is none."""
    row = await pool.fetchrow(SQL.channel, channel_id)
    return None if row is None else ChannelRow(**dict(row))
