"""Owns tracked links: what a link says, the MAC that vouches for it, and which addresses a click may go to."""

import base64
import binascii
import dataclasses
import enum
import functools
import hashlib
import hmac
import re
import struct
from typing import NamedTuple

from publishing.domain.keys import KeyRing
from publishing.domain.tracking import TrackingPolicy

ARTICLE_VERSION = 1
# Version 2 says the tracking policy and the time of the send; links of version 1 are in letters that were sent.
READER_VERSION, OLD_READER_VERSION = 2, 1
# The invisible link of a letter: no reader sees it, so that what follows it is a machine.
HONEYPOT_LINK = 9_999
# 128 bits: RFC 2104 section 5 allows truncation to half of the hash's length and no less than 80 bits.
MAC_BYTES = 16
# The token is 4/3 of the address; RFC 9110 section 4.1 asks every server and proxy for at least 8,000 octets.
MAX_URL_BYTES = 2_000
MAX_TOKEN_CHARS = 4_096
# The version and the length of the key's id.
_HEADER_BYTES = 2

_ARTICLE = struct.Struct(">QQH")
_READER, _OLD_READER = struct.Struct(">QQIQBBI"), struct.Struct(">QQIQB")
_MAX_LONG = 10**18 - 1  # the precision of EngagementRecorded's 8-byte numbers
_MAX_CHANNEL = 10**9 - 1
_MAX_LINK = 9_999
_MAX_ARM = 99
_MAX_SENT_AT_S = 2**32 - 1
_POLICIES = tuple(TrackingPolicy)  # by their numbers, from 0

# Anchored on both ends: the authority is a bare host and port, so that no parser can find another host in it.
_TARGET = re.compile(
    r"https?://(?:[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?\.?|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?(?:[/?#].*)?",
    re.IGNORECASE | re.ASCII | re.DOTALL,
)
# Controls, white space, backslash, what would end an attribute, and what turns the direction of writing.
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f-\xa0\\<>\"`\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Purpose(enum.StrEnum):
    """What a reader's token may be used for; a token of one purpose is no token of another."""

    OPEN = "open"
    CLICK = "click"
    UNSUBSCRIBE = "unsubscribe"


class LinkError(ValueError):
    """The link was not signed here, or its target is not allowed; answer as if it did not exist."""

    def __init__(self, reason: str) -> None:
        """Keep the reason, one of a few fixed phrases that hold nothing of the token."""
        super().__init__(reason)
        self.reason = reason


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ArticleLink:
    """The article part of a click link: the link's number in the article and the whole address that it leads to."""

    run_id: int
    content_id: int
    link: int
    url: str


class ReaderLink(NamedTuple):
    """The reader part of a link: whose delivery it was in, by numbers only; a tuple, as each hit makes one.

    `sent_at_s` is in seconds since 1970, 0 when the link does not say it.
    """

    run_id: int
    publication_id: int
    channel_id: int
    destination: int
    arm: int = 0
    policy: TrackingPolicy = TrackingPolicy.IDENTIFIED
    sent_at_s: int = 0


def check_target(url: str) -> str:
    """Return the address unchanged; raises LinkError unless it is http(s), at a bare ASCII host, without a trick."""
    if _FORBIDDEN.search(url):
        raise LinkError("forbidden character in the address")
    if len(url.encode()) > MAX_URL_BYTES:
        raise LinkError("address too long")
    if not _TARGET.fullmatch(url):
        raise LinkError("not an absolute http or https address of a bare host")
    return url


def sign_article(ring: KeyRing, *, run_id: int, content_id: int, link: int, url: str) -> str:
    """Sign an address once per article and run; raises LinkError for a target that check_target refuses."""
    _in_range(run_id, _MAX_LONG)
    _in_range(content_id, _MAX_LONG)
    _in_range(link, _MAX_LINK)
    return _signed(
        ring, "article", ARTICLE_VERSION, _ARTICLE.pack(run_id, content_id, link) + check_target(url).encode()
    )


def verify_article(ring: KeyRing, token: str) -> ArticleLink:
    """Read an article part; raises LinkError unless every byte of it, the address included, is as it was signed."""
    version, body = _verified(ring, "article", token)
    if version != ARTICLE_VERSION or len(body) < _ARTICLE.size:
        raise LinkError("malformed token")
    run_id, content_id, link = _ARTICLE.unpack_from(body)
    try:
        url = body[_ARTICLE.size :].decode()
    except UnicodeDecodeError as error:
        raise LinkError("malformed token") from error
    return ArticleLink(run_id=run_id, content_id=content_id, link=link, url=check_target(url))


def sign_reader(  # noqa: PLR0913  - a link says seven numbers and a purpose
    ring: KeyRing,
    *,
    purpose: Purpose,
    run_id: int,
    publication_id: int,
    channel_id: int,
    destination: int,
    arm: int = 0,
    policy: int = TrackingPolicy.IDENTIFIED,
    sent_at_s: int = 0,
) -> str:
    """Sign the reader part of one message's links, once per message and purpose; raises LinkError."""
    for number in (run_id, publication_id, destination):
        _in_range(number, _MAX_LONG)
    _in_range(channel_id, _MAX_CHANNEL)
    _in_range(arm, _MAX_ARM)
    _in_range(policy, TrackingPolicy.IDENTIFIED)
    _in_range(sent_at_s, _MAX_SENT_AT_S)
    body = _READER.pack(run_id, publication_id, channel_id, destination, arm, policy, sent_at_s)
    return _signed(ring, purpose.value, READER_VERSION, body)


def verify_reader(ring: KeyRing, purpose: Purpose, token: str) -> ReaderLink:
    """Read a reader part; raises LinkError unless it was signed for this very purpose."""
    version, body = _verified(ring, purpose.value, token)
    if version == READER_VERSION and len(body) == _READER.size:
        run_id, publication_id, channel_id, destination, arm, policy, sent_at_s = _READER.unpack(body)
        if policy >= len(_POLICIES):
            raise LinkError("malformed token")
        return ReaderLink(run_id, publication_id, channel_id, destination, arm, _POLICIES[policy], sent_at_s)
    if version == OLD_READER_VERSION and len(body) == _OLD_READER.size:
        return ReaderLink(*_OLD_READER.unpack(body))
    raise LinkError("malformed token")


def _in_range(number: int, largest: int) -> None:
    if not 0 <= number <= largest:
        raise LinkError("number out of range")


@functools.lru_cache(maxsize=256)
def _begun(key: bytes, purpose: str) -> "tuple[hashlib._Hash, hashlib._Hash]":
    """Return SHA-256 after what all MACs of a key and a purpose begin with, inside and outside (RFC 2104, section 4).

    A copy of each costs a token less than half of what an HMAC from its key does.
    """
    block = hashlib.sha256(key).digest() if len(key) > _BLOCK_BYTES else key
    block = block.ljust(_BLOCK_BYTES, b"\0")
    inner = hashlib.sha256(block.translate(_INNER_PAD))
    inner.update(b"tidewire/link/" + purpose.encode() + b"\0")
    return inner, hashlib.sha256(block.translate(_OUTER_PAD))


def _mac(key: bytes, purpose: str, signed: bytes) -> bytes:
    """Return the first half of HMAC-SHA-256 over purpose and token."""
    begun_inner, begun_outer = _begun(key, purpose)
    inner, outer = begun_inner.copy(), begun_outer.copy()
    inner.update(signed)
    outer.update(inner.digest())
    return outer.digest()[:MAC_BYTES]


def _signed(ring: KeyRing, purpose: str, version: int, body: bytes) -> str:
    kid, key = ring.current
    name = kid.encode()
    signed = bytes((version, len(name))) + name + body
    return base64.urlsafe_b64encode(signed + _mac(key, purpose, signed)).rstrip(b"=").decode()


_BLOCK_BYTES = 64
_INNER_PAD, _OUTER_PAD = (bytes(one ^ pad for one in range(256)) for pad in (0x36, 0x5C))

# From the alphabet of RFC 4648 section 5 to that of section 4, whose own two characters and padding are no token's.
_STANDARD = bytes.maketrans(b"-_+/=", b"+/\0\0\0")
# By the length modulo 4: what is left out at the end, and which last characters leave no bit unused (section 3.5).
_PADDING = (b"", b"===", b"==", b"=")
_LAST = ("", "", "AQgw", "AEIMQUYcgkosw048")


def _verified(ring: KeyRing, purpose: str, token: str) -> tuple[int, bytes]:
    """Return version and body of a token under a known key; its spelling must be canonical: one token, one string."""
    if not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise LinkError("malformed token")
    try:
        standard = token.encode("ascii").translate(_STANDARD)
        rest = len(standard) % 4
        packed = binascii.a2b_base64(standard + _PADDING[rest], strict_mode=True)
    except ValueError as error:
        raise LinkError("malformed token") from error
    if rest and token[-1] not in _LAST[rest]:
        raise LinkError("malformed token")
    signed, mac = packed[:-MAC_BYTES], packed[-MAC_BYTES:]
    if len(signed) < _HEADER_BYTES or len(signed) < (end := _HEADER_BYTES + signed[1]):
        raise LinkError("malformed token")
    key = ring.find(signed[_HEADER_BYTES:end].decode("utf-8", "replace"))
    if key is None:
        raise LinkError("unknown key")
    if not hmac.compare_digest(mac, _mac(key, purpose, signed)):
        raise LinkError("forged token")
    return signed[0], signed[end:]
