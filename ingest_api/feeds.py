"""Owns how a feed is written: RSS 2.0, well-formed whatever its titles hold."""

import dataclasses
import datetime as dt
import email.utils
import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree as ET

from publishing.domain.links import LinkError, check_target

ATOM = "http://www.w3.org/2005/Atom"
CONTENT_TYPE = "application/rss+xml; charset=utf-8"
MAX_ENTRIES = 50

# What XML 1.0 (section 2.2) does not allow, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

ET.register_namespace("atom", ATOM)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One article of a feed."""

    guid: str
    title: str
    url: str
    summary: str
    published_at: dt.datetime

    @classmethod
    def of(cls, guid: str, entry: Mapping[str, Any], published_at: dt.datetime) -> "Entry":
        """Read a stored entry."""
        return cls(
            guid=guid,
            title=str(entry.get("title", "")),
            url=str(entry.get("url", "")),
            summary=str(entry.get("summary", "")),
            published_at=published_at,
        )


@dataclasses.dataclass(frozen=True, slots=True)
class Feed:
    """A feed as it is answered; etag is a strong validator with its quotes."""

    body: bytes
    etag: str
    last_modified: str | None

    def is_known(self, if_none_match: str | None, if_modified_since: str | None) -> bool:
        """Whether the client has this very feed (RFC 9110 section 13.2.2: the entity tag decides where it is sent)."""
        if if_none_match is not None:
            named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
            return "*" in named or self.etag in named
        return self.last_modified is not None and if_modified_since == self.last_modified


def rss(*, config: Mapping[str, Any], self_url: str, entries: Sequence[Entry]) -> Feed:
    """Write a feed: config has title, link and description; entries are the newest first."""
    root = ET.Element("rss", version="2.0")
    channel = ET.SubElement(root, "channel")
    _text(channel, "title", config.get("title") or "Feed")
    _text(channel, "link", config.get("link") or self_url)
    _text(channel, "description", config.get("description") or config.get("title") or "Feed")
    ET.SubElement(channel, f"{{{ATOM}}}link", rel="self", type="application/rss+xml", href=self_url)
    last = max((entry.published_at for entry in entries), default=None)
    last_modified = None if last is None else email.utils.format_datetime(last.astimezone(dt.UTC), usegmt=True)
    if last_modified is not None:
        _text(channel, "lastBuildDate", last_modified)
    for entry in entries:
        _entry(channel, entry)
    body = ET.tostring(root, encoding="utf-8", xml_declaration=True)
    return Feed(body, f'"{hashlib.sha256(body).hexdigest()[:32]}"', last_modified)


def _entry(channel: ET.Element, entry: Entry) -> None:
    item = ET.SubElement(channel, "item")
    _text(item, "title", entry.title)
    try:
        _text(item, "link", check_target(entry.url))
    except LinkError:
        item.tail = None
    _text(item, "description", entry.summary)
    ET.SubElement(item, "guid", isPermaLink="false").text = _xml(entry.guid)
    _text(item, "pubDate", email.utils.format_datetime(entry.published_at.astimezone(dt.UTC), usegmt=True))


def _text(parent: ET.Element, tag: str, text: str) -> None:
    ET.SubElement(parent, tag).text = _xml(text)


def _xml(text: str) -> str:
    return _NOT_XML.sub("", text)
