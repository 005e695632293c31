"""Feeds: RSS 2.0 that any reader parses, whatever titles hold, and validators for conditional requests."""

import datetime as dt
import warnings
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.feeds import Entry, rss

pytestmark = pytest.mark.unit

AT = dt.datetime(2026, 1, 5, 8, 30, tzinfo=dt.UTC)
CONFIG = {"title": "News", "link": "https://example.org", "description": "All news"}
SELF = "https://example.org/api/v1/publishing/feeds/3.rss"


def entry(**changes: Any) -> Entry:
    """An entry of a feed."""
    stored = {"title": "Title", "url": "https://example.org/a", "summary": "Summary"} | changes
    return Entry.of("3-1", stored, AT)


def parsed(*entries: Entry, **config: Any) -> Any:
    """The root of the feed's XML."""
    return ET.fromstring(rss(config=CONFIG | config, self_url=SELF, entries=entries).body)  # noqa: S314  - our own XML


def test_what_a_feed_says() -> None:
    """A feed has its title, its own address, and every entry's guid, link and date of RFC 822."""
    root = parsed(entry())
    assert (root.tag, root.get("version"), root.findtext("channel/title")) == ("rss", "2.0", "News")
    self_link = root.find("channel/{http://www.w3.org/2005/Atom}link")
    assert self_link.attrib == {"rel": "self", "type": "application/rss+xml", "href": SELF}
    item = root.find("channel/item")
    assert item.findtext("pubDate") == "Mon, 05 Jan 2026 08:30:00 GMT"
    assert item.findtext("link") == "https://example.org/a"
    assert (item.findtext("guid"), item.find("guid").get("isPermaLink")) == ("3-1", "false")


def test_feedparser_reads_it() -> None:
    """A feed reader finds the entry and sees no fault in the feed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import feedparser

        found = feedparser.parse(rss(config=CONFIG, self_url=SELF, entries=[entry(title="A & <b>B</b>")]).body)
    assert not found.bozo
    assert found.feed.title == "News"
    assert found.entries[0].id == "3-1"


@given(st.text(), st.text(), st.text())
def test_any_title_is_well_formed(title: str, summary: str, name: str) -> None:
    """Whatever titles hold, the feed parses, and the text that XML can carry comes back."""
    root = parsed(entry(title=title, summary=summary), title=name)
    shown = root.findtext("channel/item/title")
    if title.isprintable():
        assert shown == title


@pytest.mark.parametrize(
    "title", ["]]><script>x</script>", "<!ENTITY x SYSTEM 'file:///etc/passwd'>", "\x00\x0b\ufffe"]
)
def test_hostile_titles_add_no_node(title: str) -> None:
    """Markup in a title is text."""
    root = parsed(entry(title=title, summary=title), title=title)
    assert {node.tag for node in root.iter()} == {
        "rss",
        "channel",
        "title",
        "link",
        "description",
        "{http://www.w3.org/2005/Atom}link",
        "lastBuildDate",
        "item",
        "guid",
        "pubDate",
    }


@pytest.mark.parametrize("url", ["javascript:alert(1)", "https://a@b", ""])
def test_an_unsafe_address_is_left_out(url: str) -> None:
    """An entry whose address may not be linked to is shown without a link."""
    assert parsed(entry(url=url)).find("channel/item/link") is None


def test_validators() -> None:
    """The same entries have the same tag, other entries another; the tag decides before the date."""
    one = rss(config=CONFIG, self_url=SELF, entries=[entry()])
    same = rss(config=CONFIG, self_url=SELF, entries=[entry()])
    other = rss(config=CONFIG, self_url=SELF, entries=[entry(title="Other")])
    assert one.etag == same.etag != other.etag
    assert one.last_modified == "Mon, 05 Jan 2026 08:30:00 GMT"
    assert one.is_known(one.etag, None)
    assert one.is_known(f'"x", W/{one.etag}', None)
    assert one.is_known("*", None)
    assert one.is_known(None, one.last_modified)
    assert not one.is_known(other.etag, one.last_modified)
    assert not one.is_known(None, None)
    assert not rss(config=CONFIG, self_url=SELF, entries=[]).is_known(None, None)
