"""Content as tests submit and plan it: valid unless a test says otherwise."""

import datetime as dt
from typing import Any

from schemas.messages import ContentItem, ContentSubmitted, ContentType, Priority

NOW = dt.datetime(2026, 11, 20, 12, 0, tzinfo=dt.UTC)


def submitted(**fields: Any) -> ContentSubmitted:
    """An item that passes review."""
    defaults: dict[str, Any] = {
        "source": "wire",
        "id": "item-1",
        "version": 1,
        "type": ContentType.ARTICLE,
        "title": "Storage engines compared",
        "summary": "Two storage engines are compared. One of them wins.",
        "body": "<p>We compare two storage engines under a steady load. The first one is fast.</p>",
        "url": "https://news.example.org/storage",
        "topics": {"databases": 1.0},
        "language": "en",
        "published_at": NOW,
    }
    return ContentSubmitted(**(defaults | fields))


def item(content_id: int, **fields: Any) -> ContentItem:
    """A reviewed item."""
    defaults: dict[str, Any] = {
        "version": 1,
        "source": "wire",
        "type": ContentType.ARTICLE,
        "topics": {"databases": 1.0},
        "quality": 0.5,
        "language": "en",
        "priority": Priority.BULK,
        "published_at": NOW - dt.timedelta(hours=1),
        "retracted": False,
        "submitted_at": NOW,
    }
    return ContentItem(content_id=content_id, **(defaults | fields))
