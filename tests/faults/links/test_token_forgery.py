"""Fault S12: nobody is unsubscribed but by a POST with a token that was signed for just that reader and purpose."""

import base64
from typing import Any

import pytest

from ingest_api.front import Front, Receive, Scope, Send
from publishing.domain import links
from publishing.domain.keys import KeyRing
from publishing.domain.links import MAC_BYTES, Purpose, sign_article, sign_reader

pytestmark = pytest.mark.faults

READER: dict[str, Any] = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41}
ONE_CLICK = b"List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
SCANNER = {
    "User-Agent": "Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0 Safari/537.36 Barracuda Sentinel"
}


class ActingOnGet(Front):
    """The mutant: whoever follows the link is unsubscribed."""

    async def _leave(self, path: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Take a GET for a POST with the one-click body."""

        async def one_click() -> Any:
            return (await receive()) | {"body": ONE_CLICK, "more_body": False}

        await super()._leave(path, {**scope, "method": "POST"}, headers, one_click, send)


def unsubscribing(target: Any, **changes: Any) -> str:
    """The token in a letter's unsubscribe link."""
    return sign_reader(target.ring, purpose=Purpose.UNSUBSCRIBE, **(READER | changes))


async def posted(target: Any, token: str) -> int:
    """The status of a one-click POST."""
    answer = await target.client.post(f"/u/{token}", content=ONE_CLICK, headers=FORM)
    return int(answer.status_code)


async def scan(target: Any) -> None:
    """A scanner follows the link of a letter in each way that is not a POST."""
    token = unsubscribing(target)
    for method in ("GET", "HEAD", "GET"):
        assert (await target.client.request(method, f"/u/{token}", headers=SCANNER)).status_code == 200
    for method in ("PUT", "DELETE", "PATCH", "OPTIONS"):
        await target.client.request(method, f"/u/{token}", headers=SCANNER)


async def test_a_scanner_unsubscribes_nobody(make_target: Any) -> None:
    """Only POST acts (RFC 8058), and it does act."""
    target = make_target()
    await scan(target)
    assert target.kinds() == []
    assert await posted(target, unsubscribing(target)) == 200
    assert target.kinds() == ["unsubscribed"]


async def test_the_scan_hits_a_front_that_acts_on_get(make_target: Any) -> None:
    """The mutant acts on GET, and the scanner unsubscribes the reader: the scan above is one."""
    target = make_target(ActingOnGet)
    await scan(target)
    assert "unsubscribed" in target.kinds()


async def test_no_flipped_byte_unsubscribes(make_target: Any) -> None:
    """A token with any bit of any byte turned acts on nobody."""
    target = make_target()
    good = unsubscribing(target)
    raw = base64.urlsafe_b64decode(good + "=" * (-len(good) % 4))
    for place in range(len(raw)):
        for bit in (0, 7) if place < len(raw) - MAC_BYTES else range(8):
            forged = bytearray(raw)
            forged[place] ^= 1 << bit
            assert await posted(target, base64.urlsafe_b64encode(forged).rstrip(b"=").decode()) == 404
    assert target.kinds() == []


async def test_no_part_of_a_token_unsubscribes(make_target: Any) -> None:
    """A token that was cut, doubled, padded or spelt otherwise acts on nobody."""
    target = make_target()
    good = unsubscribing(target)
    parts = [good[:end] for end in range(1, len(good))] + [good[start:] for start in range(1, len(good), 7)]
    for token in [*parts, good + "=", good + "A", good + good, good.swapcase(), f"{good}/x", f"{good}%00", f" {good}"]:
        assert await posted(target, token) == 404, token
    assert target.kinds() == []


async def test_no_other_token_unsubscribes(make_target: Any) -> None:
    """A token of another purpose, of another key under our name, or of a key we dropped acts on nobody."""
    target = make_target()
    others = [sign_reader(target.ring, purpose=purpose, **READER) for purpose in (Purpose.OPEN, Purpose.CLICK)]
    others.append(sign_article(target.ring, run_id=77, content_id=9, link=1, url="https://example.org/"))
    rings = [KeyRing(((name, key),)) for name, key in (("t2", b"x" * 32), ("t0", bytes(32)), ("", bytes(32)))]
    others += [sign_reader(ring, purpose=Purpose.UNSUBSCRIBE, **READER) for ring in rings]
    for token in others:
        assert await posted(target, token) == 404
    assert target.kinds() == []


async def test_an_older_key_still_unsubscribes(make_target: Any) -> None:
    """A letter that was signed before the key was rotated can still be left."""
    target = make_target()
    old = KeyRing(target.ring.keys[1:])
    assert await posted(target, sign_reader(old, purpose=Purpose.UNSUBSCRIBE, **READER)) == 200
    assert target.kinds() == ["unsubscribed"]


def test_the_mac_has_128_bits() -> None:
    """A forger has to guess 128 bits."""
    assert links.MAC_BYTES * 8 >= 128
