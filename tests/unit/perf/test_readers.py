"""What simulated readers find in a mail, and what they decide by their seed."""

from __future__ import annotations

from email.message import EmailMessage

import pytest

from perf.readers.habit import Habits, hash_of, intent_of, mail_key
from perf.readers.mail import read_mail
from perf.readers.reader import gateway_hits, hits_of, is_served

pytestmark = pytest.mark.unit

HTML = """<html><body><div style="display:none">preview <a href="https://n.example/c/honeypot/r">x</a><br></div>
<p hidden><a href="https://n.example/c/trap2/r">x</a></p>
<p><a href="https://n.example/c/one/r?a=1&amp;b=2">one</a> <a href="https://n.example/c/two/r">two</a></p>
<a href="https://n.example/c/two/r">again</a> <a href="https://n.example/about">about</a>
<a href="mailto:a@n.example">mail</a> <span style="font-size:0.9em"><a href="https://n.example/c/three/r">3</a></span>
<img src="https://n.example/logo.png"><img src="https://n.example/o/token.gif" style="display:none" width=1></body>"""


def mail(html: str | None = HTML, **headers: str) -> bytes:
    """The bytes of a mail with a text and an HTML part."""
    message = EmailMessage()
    message["Subject"] = "s"
    for name, value in headers.items():
        message[name.replace("_", "-")] = value
    message.set_content("text")
    if html is not None:
        message.add_alternative(html, subtype="html")
    return message.as_bytes()


def test_a_reader_sees_the_pixel_and_the_visible_article_links() -> None:
    """Links that a person cannot see are traps; others than article links are not tracked; each counts once."""
    found = read_mail(mail())
    assert found.pixel == "https://n.example/o/token.gif"
    assert found.links == (
        "https://n.example/c/one/r?a=1&b=2",
        "https://n.example/c/two/r",
        "https://n.example/c/three/r",
    )


def test_a_gateway_follows_what_no_reader_sees() -> None:
    """A gateway asks for each address, hidden ones first, and posts nothing; a reader is no different by its seed."""
    found = read_mail(
        mail(List_Unsubscribe="<https://n.example/u/t>", List_Unsubscribe_Post="List-Unsubscribe=One-Click")
    )
    assert found.hidden == ("https://n.example/c/honeypot/r", "https://n.example/c/trap2/r")
    hits = gateway_hits(found)
    assert [hit.url for hit in hits] == [
        "https://n.example/o/token.gif",
        *found.hidden,
        *found.links,
        "https://n.example/u/t",
    ]
    assert {hit.method for hit in hits} == {"GET"}
    assert [hit.kind for hit in hits[-2:]] == ["clicked", "looked"]
    assert gateway_hits(read_mail(mail(html=None))) == []
    gated = [intent_of(f"mail {number}", Habits(seed=5, gateway_ratio=0.25)) for number in range(4_000)]
    assert sum(intent.is_gated for intent in gated) / 4_000 == pytest.approx(0.25, abs=0.03)
    assert not intent_of("mail 1", Habits(seed=5)).is_gated


def test_a_text_mail_offers_nothing_to_track() -> None:
    """Without an HTML part there is no pixel and no link."""
    found = read_mail(mail(html=None))
    assert (found.pixel, found.links, found.unsubscribe) == (None, (), None)


def test_one_click_needs_both_headers() -> None:
    """RFC 8058: List-Unsubscribe alone is no invitation to POST."""
    link = "<https://n.example/u/t>, <mailto:u@n.example>"
    post = "List-Unsubscribe=One-Click"
    assert read_mail(mail(List_Unsubscribe=link)).unsubscribe is None
    assert read_mail(mail(List_Unsubscribe=link, List_Unsubscribe_Post=post)).unsubscribe == "https://n.example/u/t"
    assert read_mail(mail(List_Unsubscribe="<mailto:u@n.example>", List_Unsubscribe_Post=post)).unsubscribe is None


def test_the_same_seed_decides_the_same() -> None:
    """An intent depends on the mail and the seed, not on the provider's id or the order."""
    row = {"to": ["a@example.org"], "subject": "s", "tags": {"b": "2", "a": "1"}, "message_id": "x"}
    again = {**row, "message_id": "y", "tags": {"a": "1", "b": "2"}}
    assert mail_key(row) == mail_key(again)
    assert intent_of(mail_key(row), Habits(seed=1)) == intent_of(mail_key(again), Habits(seed=1))


def test_ratios_are_met_and_clickers_have_opened() -> None:
    """Over 4,000 mails the shares are within 3 points of the ratios, and nobody clicks without opening."""
    habits = Habits(seed=5, open_ratio=0.6, click_ratio=0.3, unsubscribe_ratio=0.1, max_delay_s=2.0)
    intents = [intent_of(f"mail {number}", habits) for number in range(4_000)]
    assert sum(intent.opens for intent in intents) / 4_000 == pytest.approx(0.6, abs=0.03)
    assert sum(intent.clicks for intent in intents) / 4_000 == pytest.approx(0.3, abs=0.03)
    assert sum(intent.unsubscribes for intent in intents) / 4_000 == pytest.approx(0.1, abs=0.03)
    assert all(intent.opens for intent in intents if intent.clicks)
    assert all(0 <= intent.delay_s <= 2 for intent in intents)
    assert len({intent_of("m", Habits(seed=seed)).link_draw for seed in range(9)}) == 9


def test_hits_are_made_in_the_order_of_a_person() -> None:
    """Open, click one link, unsubscribe; never HEAD; and nothing that the mail does not offer."""
    keen = intent_of("m", Habits(seed=1, open_ratio=1, click_ratio=1, unsubscribe_ratio=1))
    link = "<https://n.example/u/t>"
    found = read_mail(mail(List_Unsubscribe=link, List_Unsubscribe_Post="List-Unsubscribe=One-Click"))
    hits = hits_of(found, keen)
    assert [(hit.kind, hit.method) for hit in hits] == [
        ("opened", "GET"),
        ("clicked", "GET"),
        ("unsubscribed", "POST"),
    ]
    assert hits[1].url in found.links
    assert hits[2].body == "List-Unsubscribe=One-Click"
    assert all("Mozilla" in hit.headers["User-Agent"] for hit in hits)
    assert hits_of(read_mail(mail(html=None)), keen) == []


@pytest.mark.parametrize(
    ("kind", "status", "served"),
    [
        ("opened", 200, True),
        ("opened", 302, False),
        ("clicked", 302, True),
        ("clicked", 200, False),
        ("clicked", 404, False),
        ("unsubscribed", 303, False),
        ("unsubscribed", 200, True),
        ("opened", None, False),
    ],
)
def test_a_click_is_served_by_a_redirect_and_the_rest_by_2xx(kind: str, status: int | None, *, served: bool) -> None:
    """RFC 8058 forbids a redirect as the answer to one-click."""
    assert is_served(kind, status) is served


def test_an_address_is_only_a_hash_in_the_log() -> None:
    """The hash is the same for any spelling in case, and short."""
    assert hash_of("Ann@Example.org") == hash_of("ann@example.org")
    assert len(hash_of("ann@example.org")) == 16
