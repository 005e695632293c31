"""Links: nothing but what was signed is read, purposes are apart, and targets are plain web addresses."""

import base64
import hmac
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.keys import KeyRing
from publishing.domain.links import (
    MAX_URL_BYTES,
    ArticleLink,
    LinkError,
    Purpose,
    ReaderLink,
    check_target,
    sign_article,
    sign_reader,
    verify_article,
    verify_reader,
)
from publishing.domain.tracking import TrackingPolicy

pytestmark = pytest.mark.unit

RING = KeyRing((("k2", b"2" * 32), ("k1", b"1" * 32)))
OLD_RING = KeyRing((("k1", b"1" * 32),))
LONG = st.integers(0, 10**18 - 1)
READER: dict[str, Any] = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41, "arm": 1}
# READER as the first version signed it, under the older key.
OLD_TOKENS = {
    Purpose.OPEN: "AQJrMQAAAAAAAABNAAAAAAAAAAwAAAADAAAAAAAAACkBAhNRQhWYeOIwNfUUawmtxw",
    Purpose.CLICK: "AQJrMQAAAAAAAABNAAAAAAAAAAwAAAADAAAAAAAAACkB4fR8O0g_YiDsIcj9LrumSg",
    Purpose.UNSUBSCRIBE: "AQJrMQAAAAAAAABNAAAAAAAAAAwAAAADAAAAAAAAACkBhpQbXrQtSZhyAYVUq76K-A",
}
SAFE = st.text("abcdefghijklmnopqrstuvwxyz0123456789-._~/?#[]@!$&'()*+,;=%äß漢", max_size=200)


def flipped(token: str, place: int, bit: int) -> str:
    """The token with one bit of one of its packed bytes turned."""
    packed = bytearray(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    packed[place % len(packed)] ^= 1 << bit
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


ANY_READER = st.builds(
    ReaderLink,
    run_id=LONG,
    publication_id=LONG,
    channel_id=st.integers(0, 10**9 - 1),
    destination=LONG,
    arm=st.integers(0, 99),
    policy=st.sampled_from(TrackingPolicy),
    sent_at_s=st.integers(0, 2**32 - 1),
)


@given(ANY_READER, st.sampled_from(Purpose))
def test_a_reader_comes_back(link: ReaderLink, purpose: Purpose) -> None:
    """What was signed is read, whatever the numbers within the widths of the message."""
    assert verify_reader(RING, purpose, sign_reader(RING, purpose=purpose, **link._asdict())) == link


def test_links_of_the_first_version_are_read() -> None:
    """A letter that was sent before links said policy and time still counts, as identified and at no known time."""
    for purpose, token in OLD_TOKENS.items():
        assert verify_reader(RING, purpose, token) == ReaderLink(
            run_id=77, publication_id=12, channel_id=3, destination=41, arm=1
        )


@given(LONG, LONG, st.integers(0, 9_999), SAFE)
def test_an_article_comes_back(run_id: int, content_id: int, link: int, rest: str) -> None:
    """The whole address comes back, whatever its path."""
    url = f"https://example.org/{rest}"
    token = sign_article(RING, run_id=run_id, content_id=content_id, link=link, url=url)
    assert verify_article(RING, token) == ArticleLink(run_id=run_id, content_id=content_id, link=link, url=url)


@given(st.integers(0, 10_000), st.integers(0, 7), st.sampled_from(Purpose))
def test_a_flipped_bit_of_a_reader_is_refused(place: int, bit: int, purpose: Purpose) -> None:
    """No bit of a reader's token may differ from what was signed."""
    token = sign_reader(RING, purpose=purpose, **READER)
    with pytest.raises(LinkError):
        verify_reader(RING, purpose, flipped(token, place, bit))


@given(st.integers(0, 10_000), st.integers(0, 7))
def test_a_flipped_bit_of_an_article_is_refused(place: int, bit: int) -> None:
    """No bit of an article's token, its address included, may differ from what was signed."""
    token = sign_article(RING, run_id=1, content_id=2, link=3, url="https://example.org/a")
    with pytest.raises(LinkError):
        verify_article(RING, flipped(token, place, bit))


def test_every_character_counts() -> None:
    """One token has one spelling: each character is checked, the spare bits of the last one included."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for number in range(3):
        url = f"https://example.org/{'a' * number}"
        token = sign_article(RING, run_id=1, content_id=2, link=3, url=url)
        for place, letter in enumerate(token):
            for other in alphabet if place == len(token) - 1 else "AQgw-_9=":
                if other != letter:
                    with pytest.raises(LinkError):
                        verify_article(RING, token[:place] + other + token[place + 1 :])


@pytest.mark.parametrize("signed_for", list(Purpose))
@pytest.mark.parametrize("used_for", list(Purpose))
def test_purposes_are_apart(signed_for: Purpose, used_for: Purpose) -> None:
    """A token of one purpose is no token of another."""
    token = sign_reader(RING, purpose=signed_for, **READER)
    if signed_for is used_for:
        assert verify_reader(RING, used_for, token).destination == 41
    else:
        with pytest.raises(LinkError, match="forged"):
            verify_reader(RING, used_for, token)


@given(st.binary(min_size=32, max_size=96), st.sampled_from(Purpose), st.integers(1, 10**18 - 1))
def test_the_mac_is_half_of_an_hmac(key: bytes, purpose: Purpose, destination: int) -> None:
    """What vouches for a link is HMAC-SHA-256 over purpose and token, cut to 128 bits, for keys of any length."""
    ring = KeyRing((("k", key),))
    token = sign_reader(ring, purpose=purpose, **(READER | {"destination": destination}))
    packed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    whole = hmac.digest(key, f"tidewire/link/{purpose}\0".encode() + packed[:-16], "sha256")
    assert packed[-16:] == whole[:16]


def test_an_article_is_no_reader() -> None:
    """The two parts of a click link cannot stand for each other."""
    article = sign_article(RING, run_id=1, content_id=2, link=3, url="https://example.org/abc")
    with pytest.raises(LinkError):
        verify_reader(RING, Purpose.CLICK, article)
    with pytest.raises(LinkError):
        verify_article(RING, sign_reader(RING, purpose=Purpose.CLICK, **READER))


@pytest.mark.parametrize("token", ["", "A", "====", "\x00", "a b", "é" * 40, "A" * 5_000, "AQ", "Af8", "_" * 60])
def test_noise_is_refused(token: str) -> None:
    """What is no token at all is refused, and does not raise anything else."""
    with pytest.raises(LinkError):
        verify_reader(RING, Purpose.OPEN, token)
    with pytest.raises(LinkError):
        verify_article(RING, token)


@given(st.text(max_size=120))
def test_any_text_is_refused(token: str) -> None:
    """No text that we did not sign is a token, and none raises anything but LinkError."""
    with pytest.raises(LinkError):
        verify_reader(RING, Purpose.UNSUBSCRIBE, token)


@pytest.mark.parametrize("end", range(0, 60, 3))
def test_a_truncated_token_is_refused(end: int) -> None:
    """A part of a token is no token."""
    token = sign_reader(RING, purpose=Purpose.UNSUBSCRIBE, **READER)
    with pytest.raises(LinkError):
        verify_reader(RING, Purpose.UNSUBSCRIBE, token[:end])


def test_keys_rotate() -> None:
    """A link under an older key of the ring is read; a key that was dropped, or never ours, is not."""
    old = sign_reader(OLD_RING, purpose=Purpose.OPEN, **READER)
    assert verify_reader(RING, Purpose.OPEN, old).run_id == 77
    with pytest.raises(LinkError, match="unknown key"):
        verify_reader(OLD_RING, Purpose.OPEN, sign_reader(RING, purpose=Purpose.OPEN, **READER))
    with pytest.raises(LinkError, match="forged"):
        verify_reader(KeyRing((("k1", b"3" * 32),)), Purpose.OPEN, old)


@pytest.mark.parametrize(
    "numbers",
    [
        {"run_id": -1},
        {"run_id": 10**18},
        {"channel_id": 10**9},
        {"destination": 10**18},
        {"arm": 100},
        {"arm": -1},
        {"sent_at_s": 2**32},
    ],
)
def test_numbers_fit_the_message(numbers: dict[str, int]) -> None:
    """A number that the event could not carry is not signed."""
    with pytest.raises(LinkError, match="out of range"):
        sign_reader(RING, purpose=Purpose.OPEN, **(READER | numbers))


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "HTTP://EXAMPLE.ORG:8080/a?b=c#d",
        "https://example.org/a//b/@c:d",
        "https://[2001:db8::1]:443/x",
        "https://xn--bcher-kva.example/pfad",
        "https://example.org/zürich?q=漢字",
        "https://example.org./a",
        "https://example.org?redirect=https://other.example",
        "https://example.org/" + "a" * (MAX_URL_BYTES - 20),
    ],
)
def test_plain_addresses_are_targets(url: str) -> None:
    """An ordinary web address may be linked to, unchanged."""
    assert check_target(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "//example.org",
        "/path",
        "example.org",
        "javascript:alert(1)",
        "data:text/html,x",
        "ftp://example.org",
        "file:///etc/passwd",
        "https:example.org",
        "https:/example.org",
        "https:///example.org",
        "https://",
        "https://@example.org",
        "https://user@example.org",
        "https://user:secret@example.org/",
        "https://example.org@other.example",
        "https://example.org\\@other.example",
        "https://example.org\\.other.example",
        "https:\\\\example.org",
        "https://example.org/\r\nSet-Cookie: a=b",
        "https://example.org/\nx",
        "https://example.org/\x00",
        "https://example.org/\t",
        " https://example.org",
        "https://example.org ",
        "https://exa mple.org",
        "java\nscript:alert(1)",
        "https://example.org/\u2028",
        "https://example.org/\u202egnp.exe",
        "https://example.org/\ud800",
        "https://ex\u00e4mple.org",
        "https://example\uff0eorg",
        "https://example.org:port",
        "https://example.org:123456",
        "https://[::1",
        'https://example.org/"onclick=',
        "https://example.org/<script>",
        "https://example.org/" + "a" * MAX_URL_BYTES,
    ],
)
def test_tricks_are_no_targets(url: str) -> None:
    """What is not http(s) at a bare host, or holds what splits headers or pages, is neither signed nor followed."""
    with pytest.raises(LinkError):
        check_target(url)
    with pytest.raises(LinkError):
        sign_article(RING, run_id=1, content_id=1, link=0, url=url)
