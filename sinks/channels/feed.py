"""Feeds: a delivery is accepted when its entries are stored; readers' programs fetch them from there."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from publishing.domain.truncation import one_line, shorten
from publishing.runtime.database import open_pool
from publishing.runtime.settings import Settings
from publishing.stores import feed_entries
from publishing.stores.availability import is_unavailable
from publishing.stores.feed_entries import FeedEntry
from sinks.contract import (
    MAX_ARTICLES,
    Accepted,
    Item,
    Letter,
    Limits,
    Outcome,
    Refused,
    Retry,
    Validation,
    refuse_unknown,
    require_text,
)
from sinks.posting import require_url

MAX_TITLE = 300
MAX_SUMMARY = 2_000


@dataclass(frozen=True, slots=True)
class FeedConfig:
    """What a feed says of itself."""

    title: str
    link: str
    description: str


@dataclass(frozen=True, slots=True)
class FeedMessage:
    """The entries of one delivery."""

    channel_id: int
    run_id: int
    delivery: str
    entries: tuple[FeedEntry, ...]


class Feed:
    """Writes entries that RSS, Atom and JSON Feed are made from."""

    name = "feed"
    limits = Limits(
        per_second=200.0,
        burst=50,
        max_size=MAX_ARTICLES,
        unit="entries",
        # https://www.rssboard.org/rss-specification sets no limit on items; the planner's is the only one.
        source="https://www.rssboard.org/rss-specification",
    )

    def parse_config(self, config: Mapping[str, Any]) -> FeedConfig:
        """Read {"title", "link", "description"}; raises ConfigError."""
        refuse_unknown(config, ("title", "link", "description"))
        return FeedConfig(
            title=require_text(config, "title", max_chars=300),
            link=require_url(config, "link"),
            description=require_text(config, "description"),
        )

    async def validate(self, config: FeedConfig) -> Validation:
        """A feed is ours: a configuration that parses works."""
        del config
        return Validation("ok")

    def render(self, letter: Letter, config: FeedConfig) -> FeedMessage:
        """Render an entry for each article, texts unescaped: each format escapes as it must."""
        del config
        entries = tuple(_entry(letter, item) for item in letter.items)
        return FeedMessage(letter.channel_id, letter.run_id, letter.key, entries)

    def size(self, message: FeedMessage) -> int:
        """The number of entries."""
        return len(message.entries)

    @asynccontextmanager
    async def open(self, settings: Settings) -> AsyncIterator[feed_entries.Pool]:
        """A small pool on the database."""
        async with await open_pool(settings, process="feed", max_size=2) as pool:
            yield pool

    async def deliver(self, connection: feed_entries.Pool, config: FeedConfig, message: FeedMessage) -> Outcome:
        """Store the entries; again is the same as once, so that nothing is ever in doubt."""
        del config
        try:
            await feed_entries.add(
                connection, channel_id=message.channel_id, run_id=message.run_id, entries=message.entries
            )
        except Exception as error:  # noqa: BLE001  - whatever the database says is an answer here
            return Retry("database") if is_unavailable(error) else Refused(type(error).__name__)
        return Accepted(f"feed-{message.delivery}")


def _entry(letter: Letter, item: Item) -> FeedEntry:
    article = item.article
    guid = f"{letter.channel_id}-{article.content_id}"
    return FeedEntry(
        guid=guid,
        content_id=article.content_id,
        published_at=article.published_at,
        entry={
            "guid": guid,
            "title": shorten(one_line(article.title), MAX_TITLE),
            "summary": shorten(one_line(article.summary), MAX_SUMMARY),
            "url": item.link,
            "author": article.author and one_line(article.author),
            "language": article.language,
            "topics": list(article.topics),
            "published_at": article.published_at.isoformat(),
        },
    )


CHANNEL = Feed()
