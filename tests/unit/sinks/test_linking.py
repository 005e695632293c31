"""Links of letters: what each says under each tracking policy, and the one that no reader sees."""

import email
import email.policy
import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from perf.readers.mail import read_mail
from publishing.domain.keys import KeyRing
from publishing.domain.links import HONEYPOT_LINK, ArticleLink, Purpose, ReaderLink, verify_article, verify_reader
from publishing.domain.tracking import TrackingPolicy
from sinks.channels.email import CHANNEL
from sinks.contract import Article, Item, Letter
from sinks.linking import ARTICLE_LINK, LetterLinks, Linking

pytestmark = pytest.mark.unit

RING = KeyRing((("t1", bytes(32)),))
NOW = datetime(2026, 1, 5, 9, 0, 0, 900_000, tzinfo=UTC)
SENT_AT_S = int(NOW.timestamp())
PUBLIC = "https://news.example/t"
URLS = {7: "https://example.org/a", 8: "javascript:alert(1)", 9: "https://example.org/b?c=d"}


def article(number: int) -> Article:
    """An article."""
    return Article(
        content_id=number,
        version=1,
        title="Title",
        summary="Summary",
        url=URLS[number],
        author=None,
        language="en",
        topics=(),
        published_at=NOW,
    )


def links_of(policy: TrackingPolicy, *, is_reader: bool = True, public_url: str = PUBLIC) -> LetterLinks:
    """The links of one letter with two of three articles."""
    claim: Any = SimpleNamespace(run_id=77, publication_id=12, channel_id=3)
    sealed = b"sealed" if is_reader else None
    slot: Any = SimpleNamespace(destination=41, arm=1, content_ids=(7, 8), sealed_address=sealed)
    linking = Linking(RING, public_url, policy)
    return linking.of_letter(linking.of_run(77, {number: article(number) for number in URLS}), claim, slot, NOW)


def reader(url: str | None, purpose: Purpose) -> ReaderLink:
    """The reader part of a link."""
    assert url is not None
    return verify_reader(RING, purpose, url.rpartition("/")[2].removesuffix(".gif"))


def target(url: str | None) -> ArticleLink:
    """The article part of a click link."""
    assert url is not None
    return verify_article(RING, url.split("/")[-2])


@pytest.mark.parametrize("policy", [TrackingPolicy.ANONYMOUS, TrackingPolicy.PSEUDONYMOUS, TrackingPolicy.IDENTIFIED])
def test_links_say_policy_and_time(policy: TrackingPolicy) -> None:
    """Each link says its policy and the second of the send; the anonymous ones that count say no reader."""
    found = links_of(policy)
    wanted = ReaderLink(
        run_id=77, publication_id=12, channel_id=3, destination=41, arm=1, policy=policy, sent_at_s=SENT_AT_S
    )
    assert reader(found.unsubscribe_url, Purpose.UNSUBSCRIBE) == wanted
    number = 0 if policy is TrackingPolicy.ANONYMOUS else 41
    for url, purpose in ((found.open_url, Purpose.OPEN), *((one, Purpose.CLICK) for one in found.articles.values())):
        assert (reader(url, purpose).destination, reader(url, purpose).policy) == (number, policy)
        assert reader(url, purpose).sent_at_s == SENT_AT_S
    assert list(found.articles) == [7]
    assert target(found.articles[7]) == ArticleLink(run_id=77, content_id=7, link=ARTICLE_LINK, url=URLS[7])


def test_nobody_is_tracked_under_off() -> None:
    """Links are the articles' own, there is no pixel and no honeypot, and the reader can leave."""
    found = links_of(TrackingPolicy.OFF)
    assert {number: found.articles[number] for number in (7, 9)} == {7: URLS[7], 9: URLS[9]}
    assert 8 not in found.articles
    assert (found.open_url, found.honeypot_url) == (None, None)
    assert reader(found.unsubscribe_url, Purpose.UNSUBSCRIBE).destination == 41


def test_a_room_has_nothing_to_open_or_to_leave() -> None:
    """A room's links are counted, and hold no honeypot: what unfolds links in a chat would step into it."""
    found = links_of(TrackingPolicy.IDENTIFIED, is_reader=False)
    assert (found.open_url, found.unsubscribe_url, found.honeypot_url) == (None, None, None)
    assert reader(found.articles[7], Purpose.CLICK).destination == 41


def test_the_trap_leads_home() -> None:
    """The invisible link has the number that verdicts know, no article, and leads to the installation's own page."""
    honeypot = target(links_of(TrackingPolicy.IDENTIFIED).honeypot_url)
    assert honeypot == ArticleLink(run_id=77, content_id=0, link=HONEYPOT_LINK, url=f"{PUBLIC}/")
    assert links_of(TrackingPolicy.IDENTIFIED, public_url="https://n\u00e4ws.example").honeypot_url is None


@pytest.mark.parametrize("honeypot_url", [None, "https://news.example/c/honeypot/reader"])
def test_no_reader_sees_the_honeypot(honeypot_url: str | None) -> None:
    """In a mail the honeypot is hidden from eyes, screen readers and the keyboard, empty, and not in the text part."""
    letter = Letter(
        run_id=77,
        publication_id=12,
        channel_id=3,
        destination=41,
        publication="Weekly",
        items=(Item(article=article(7), link="https://news.example/c/article/reader"),),
        sent_at=NOW,
        address="reader@example.org",
        honeypot_url=honeypot_url,
    )
    raw = CHANNEL.render(letter, CHANNEL.parse_config({"sender": "news@example.org"})).raw
    found = read_mail(raw)
    assert found.links == ("https://news.example/c/article/reader",)
    assert found.hidden == ((honeypot_url,) if honeypot_url else ())
    message = email.message_from_bytes(raw, policy=email.policy.default)
    plain, html = (message.get_body((kind,)) for kind in ("plain", "html"))
    assert plain is not None
    assert html is not None
    assert "honeypot" not in plain.get_content()
    anchor = re.search(r'<a href="[^"]*honeypot[^"]*"([^>]*)></a>', html.get_content())
    assert (anchor is not None) == (honeypot_url is not None)
    if anchor:
        for part in ("hidden", 'aria-hidden="true"', 'tabindex="-1"', "display:none"):
            assert part in anchor[1]
