"""Owns what makes a pushed item fit for publishing, and which of several versions of it is kept."""

import dataclasses
import datetime as dt
import math
import re
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from schemas.messages import ContentSubmitted, ContentType, Priority

MAX_CHARS: Mapping[str, int] = {
    "source": 100,
    "id": 200,
    "title": 300,
    "summary": 5_000,
    "body": 200_000,
    "url": 2_048,
    "author": 200,
    "language": 35,
}
"""Longest texts, in characters; a language tag has at most 35 (RFC 5646, 4.4.1)."""

REQUIRED = ("source", "id", "title", "url")
MAX_TOPICS = 64
MAX_TOPIC_CHARS = 64
MAX_VERSION = 2**31 - 1
EARLIEST = dt.datetime(1990, 1, 1, tzinfo=dt.UTC)
LATEST = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)
MAX_AHEAD = dt.timedelta(days=1)
"""How far in the future an item may say it was published: clocks differ."""

UNKNOWN_LANGUAGE = "und"
"""The tag of an undetermined language (ISO 639-2, RFC 5646 4.1)."""

# C0 but for tab, line feed and carriage return; DEL; lone surrogates, which are no UTF-8.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
ONE_LINE = re.compile("[\t\n\r]")
LANGUAGE = re.compile(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*")


class ContentError(Exception):
    """An item is refused: correct `field` as `remedy` says and submit it again."""

    def __init__(self, field: str, remedy: str) -> None:
        super().__init__(f"{field}: {remedy}")
        self.field = field
        self.remedy = remedy


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReviewedContent:
    """An item that passed review, as its row will be; quality and topic weights are in [0, 1]."""

    source: str
    external_id: str
    version: int
    type: str
    title: str
    summary: str
    body: str | None
    url: str
    topics: Mapping[str, float]
    language: str
    author: str | None
    priority: str
    quality: float
    published_at: dt.datetime
    expires_at: dt.datetime | None
    retracted: bool
    submitted_at: dt.datetime


def check(item: ContentSubmitted, *, now: dt.datetime) -> None:
    """Raise ContentError for the first field that cannot be published; the caller buries the item alone."""
    _check_texts(item)
    _check_url(item.url)
    _check_topics(item.topics)
    _check_times(item, now)
    if not 1 <= item.version <= MAX_VERSION:
        raise ContentError("version", "must be a number from 1 to 2147483647")
    if item.type is ContentType.UNKNOWN:
        raise ContentError("type", "must be article or alert")
    if item.quality is not None and not 0 <= item.quality <= 1:
        raise ContentError("quality", "must be a number from 0 to 1, or left out")
    if item.language and not LANGUAGE.fullmatch(item.language):
        raise ContentError("language", "must be a language tag such as en or pt-BR, or left empty")


def reviewed(item: ContentSubmitted, *, quality: float, submitted_at: dt.datetime) -> ReviewedContent:
    """The row of a checked item; what it leaves open gets its default (language und, priority bulk)."""
    return ReviewedContent(
        source=item.source,
        external_id=item.id,
        version=item.version,
        type=item.type.value,
        title=item.title.strip(),
        summary=item.summary,
        body=item.body,
        url=item.url,
        topics=dict(item.topics),
        language=item.language or UNKNOWN_LANGUAGE,
        author=item.author,
        priority=Priority.ALERT.value if item.priority is Priority.ALERT else Priority.BULK.value,
        quality=quality,
        published_at=item.published_at,
        expires_at=item.expires_at,
        retracted=item.retracted,
        submitted_at=submitted_at,
    )


def newest_versions(items: Iterable[ReviewedContent]) -> list[ReviewedContent]:
    """The highest version of each (source, id), the first of equals, in the order of (source, id)."""
    kept: dict[tuple[str, str], ReviewedContent] = {}
    for item in items:
        key = (item.source, item.external_id)
        if key not in kept or item.version > kept[key].version:
            kept[key] = item
    return [kept[key] for key in sorted(kept)]


def _check_texts(item: ContentSubmitted) -> None:
    for field, longest in MAX_CHARS.items():
        text = getattr(item, field)
        if text is None:
            continue
        if len(text) > longest:
            raise ContentError(field, f"must have at most {longest} characters")
        if FORBIDDEN.search(text):
            raise ContentError(field, "must not contain control characters")
        if field not in ("summary", "body") and ONE_LINE.search(text):
            raise ContentError(field, "must be one line")
    for field in REQUIRED:
        if not getattr(item, field).strip():
            raise ContentError(field, "must not be empty")


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise ContentError("url", "must be an absolute http or https address") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ContentError("url", "must be an absolute http or https address")
    if parts.username is not None or parts.password is not None or "\\" in url or " " in url:
        raise ContentError("url", "must hold no user name, backslash or space")


def _check_topics(topics: Mapping[str, float]) -> None:
    if len(topics) > MAX_TOPICS:
        raise ContentError("topics", f"must be at most {MAX_TOPICS}")
    for name, weight in topics.items():
        if not name.strip() or len(name) > MAX_TOPIC_CHARS or FORBIDDEN.search(name) or ONE_LINE.search(name):
            raise ContentError("topics", f"must have names of 1 to {MAX_TOPIC_CHARS} characters on one line")
        if not math.isfinite(weight) or not 0 <= weight <= 1:
            raise ContentError("topics", "must have weights from 0 to 1")


def _check_times(item: ContentSubmitted, now: dt.datetime) -> None:
    if not EARLIEST <= item.published_at <= now + MAX_AHEAD:
        raise ContentError("published_at", "must be after 1990 and at most a day in the future")
    if item.expires_at is not None and not item.published_at < item.expires_at <= LATEST:
        raise ContentError("expires_at", "must be after published_at and before 2100, or left out")
