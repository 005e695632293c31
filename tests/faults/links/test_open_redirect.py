"""Fault S6: a click leads to what was signed, whole, and to nothing that a parser could take for another host."""

import base64
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api import front
from publishing.domain import links
from publishing.domain.keys import KeyRing
from publishing.domain.links import ArticleLink, LinkError, Purpose, sign_article, sign_reader, verify_article

pytestmark = pytest.mark.faults

RING = KeyRing((("t2", bytes(32)), ("t1", b"1" * 32)))
READER = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41}
ID_BYTES = links._ARTICLE.size
EVIL = "https://evil.example/phish"

TRICKS = [
    "//evil.example", "///evil.example", "////evil.example/%2f..", "/\\evil.example", "\\\\evil.example",
    "http:evil.example", "http:/evil.example", "http:///evil.example", "https:\\\\evil.example",
    "https:/\\evil.example",
    "https://good.example@evil.example", "https://good.example:80@evil.example", "https://good.example%00@evil.example",
    "https://good.example\\@evil.example", "https://evil.example\\.good.example", "https://[good.example]@evil.example",
    "https://good.example\t@evil.example", "https://ev\til.example", "\thttps://evil.example", " https://evil.example",
    "https://good.example/\r\nLocation: https://evil.example", "https://good.example/\r\n\r\n<script>alert(1)</script>",
    "https://good.example/\u2028https://evil.example", "https://good.example/\x00", "https://good\uff0eexample",
    "https://evil.example\u3002good.example", "https://\u0435vil.example", "https://evil.example\uff03.good.example",
    "javascript:alert(1)", "JaVaScRiPt:alert(1)", "java\nscript:alert(1)", "vbscript:x", "data:text/html,<script>",
    "data:text/html;base64,PHNjcmlwdD4=", "file:///etc/passwd", "ftp://evil.example", "ws://evil.example",
    "blob:https://evil.example/x", "https://", "https:// evil.example", "https://?evil.example", "https://#evil.example",
    "https://:80", "https://.evil.example", "https://evil.example:99999999", "https://[::1", "https://[::1]evil.example",
]  # fmt: skip


def packed(token: str) -> bytes:
    """The bytes of a token."""
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def spelt(raw: bytes) -> str:
    """The token of these bytes."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def aimed_elsewhere(token: str, url: str) -> str:
    """A token whose address was replaced, with the ids and the MAC that it had."""
    raw = packed(token)
    start = 2 + raw[1] + ID_BYTES
    return spelt(raw[:start] + url.encode() + raw[-links.MAC_BYTES :])


def mutant_mac(key: bytes, purpose: str, signed: bytes) -> bytes:
    """The mutant: a MAC over key id, run, article and link only."""
    return original_mac(key, purpose, signed[: 2 + signed[1] + ID_BYTES] if purpose == "article" else signed)


original_mac = links._mac


async def attack(target: Any) -> int:
    """Take a link from a letter, aim it elsewhere, and click; the status of the answer."""
    article = sign_article(target.ring, run_id=77, content_id=9, link=1, url="https://good.example/a")
    reader = sign_reader(target.ring, purpose=Purpose.CLICK, **READER)
    honest = await target.client.get(f"/c/{article}/{reader}")
    assert honest.headers["location"] == "https://good.example/a"
    answer = await target.client.get(f"/c/{aimed_elsewhere(article, EVIL)}/{reader}")
    assert ("location" in answer.headers) == (answer.status_code == 302)
    return int(answer.status_code)


async def test_a_link_cannot_be_aimed_elsewhere(make_target: Any) -> None:
    """The MAC is over the whole address: a link whose address was replaced leads nowhere and counts nothing."""
    target = make_target()
    assert await attack(target) == 404
    assert target.kinds() == ["clicked"]


async def test_the_attack_hits_a_mac_over_the_id_only(make_target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mutant signs the ids alone, and is led to the attacker's page: the attack above is one."""
    monkeypatch.setattr(links, "_mac", mutant_mac)
    assert await attack(make_target()) == 302


@pytest.mark.parametrize("url", TRICKS)
async def test_tricks_lead_nowhere_even_when_signed(make_target: Any, url: str) -> None:
    """An address with a trick is not signed, and one that is signed all the same, by our own key, is not followed."""
    target = make_target()
    with pytest.raises(LinkError):
        sign_article(target.ring, run_id=77, content_id=9, link=1, url=url)
    body = links._ARTICLE.pack(77, 9, 1) + url.encode("utf-8", "surrogatepass")
    token = links._signed(target.ring, "article", links.ARTICLE_VERSION, body)
    reader = sign_reader(target.ring, purpose=Purpose.CLICK, **READER)
    answer = await target.client.get(f"/c/{token}/{reader}")
    assert answer.status_code == 404
    assert "location" not in answer.headers
    assert target.kinds() == []


@given(st.text(max_size=60), st.sampled_from(["", "https://", "http://good.example", "https://good.example/"]))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_replaced_address_is_refused(text: str, prefix: str) -> None:
    """Whatever takes the place of the address, the MAC does not vouch for it."""
    url = (prefix + text).encode("utf-8", "replace").decode()
    token = sign_article(RING, run_id=77, content_id=9, link=1, url="https://good.example/a")
    if url == "https://good.example/a":
        return
    with pytest.raises(LinkError):
        verify_article(RING, aimed_elsewhere(token, url))


@given(st.text(max_size=60))
def test_what_is_followed_is_a_plain_address(text: str) -> None:
    """Whatever is signed and followed is http(s) at a bare host, in one line of ASCII, of which nothing was lost."""
    try:
        token = sign_article(RING, run_id=77, content_id=9, link=1, url=f"https://{text}")
    except LinkError:
        return
    found: ArticleLink = verify_article(RING, token)
    header = front.location(found.url)
    assert header.isascii()
    authority = header.decode().removeprefix("https://").partition("/")[0].partition("?")[0].partition("#")[0]
    assert authority
    assert not set(authority) & set("@\\ \t\r\n%")
    assert b"\r" not in header
    assert b"\n" not in header
