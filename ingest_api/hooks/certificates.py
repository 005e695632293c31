"""Owns what is fetched from Amazon: certificates that sign notifications, and the confirmation of a subscription."""

import asyncio
import dataclasses
import datetime as dt
import ssl
from collections.abc import Callable
from typing import Protocol

import aiohttp
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from publishing.runtime.clock import monotonic_s

# A certificate has some 2 KB, the answer to a confirmation less.
MAX_ANSWER_BYTES = 65_536
# SNS waits 15 s for our answer (https://docs.aws.amazon.com/sns/latest/dg/sns-message-delivery-retries.html).
FETCH_WAIT_S = 5.0
# A certificate that Amazon takes back is trusted no longer than this.
MAX_AGE_S = 86_400.0
MAX_CACHED = 16
# What forged messages can make us ask for: so many a minute, and nothing of anyone but Amazon.
MAX_FETCHES, FETCHES_PER_S = 10, 60.0
MIN_KEY_BITS = 2_048


class FetchError(Exception):
    """Amazon did not answer as it should; answer 503, and the notification will come again."""


class CertificateError(Exception):
    """What was fetched is no certificate that may sign now; refuse the notification."""


class Certificates(Protocol):
    """What fetches an address of Amazon's; the caller has made sure that it is one."""

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200; raises FetchError within a bounded time."""


class HttpsCertificates:
    """Fetches over TLS that is verified against the system's authorities: no redirect, no proxy of the environment."""

    def __init__(self, context: ssl.SSLContext | None = None, *, wait_s: float = FETCH_WAIT_S) -> None:
        """Trust the system's authorities, or those of the context given."""
        self._context = context
        self._timeout = aiohttp.ClientTimeout(total=wait_s)

    async def fetch(self, url: str) -> bytes:
        """Return the body of a 200, at most 64 KiB; raises FetchError within 5 s."""
        self._context = self._context or ssl.create_default_context()
        connector = aiohttp.TCPConnector(ssl=self._context, force_close=True)
        try:
            async with (
                aiohttp.ClientSession(
                    connector=connector,
                    timeout=self._timeout,
                    trust_env=False,
                    cookie_jar=aiohttp.DummyCookieJar(),
                    auto_decompress=False,
                ) as session,
                session.get(url, allow_redirects=False) as answer,
            ):
                if answer.status != 200:  # noqa: PLR2004  - the one status that carries what was asked for
                    raise FetchError
                return await _limited(answer.content)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise FetchError from error


@dataclasses.dataclass(frozen=True, slots=True)
class _Cached:
    """A certificate's key, the time in which it may sign, and when it was fetched."""

    key: RSAPublicKey
    not_before: dt.datetime
    not_after: dt.datetime
    fetched_s: float


class CachedKeys:
    """Public keys by the address of their certificate; each is fetched once, however many ask for it at a time."""

    def __init__(self, certificates: Certificates, *, clock_s: Callable[[], float] = monotonic_s) -> None:
        """Start with nothing fetched."""
        self._certificates = certificates
        self._clock_s = clock_s
        self._known: dict[str, _Cached] = {}
        self._fetches: list[float] = []
        self._lock = asyncio.Lock()

    async def key(self, url: str, now: dt.datetime) -> RSAPublicKey:
        """Return the key of the certificate at an address; raises CertificateError or FetchError."""
        found = self._fresh(url)
        if found is None:
            async with self._lock:
                found = self._fresh(url) or await self._fetched(url)
        if not found.not_before <= now <= found.not_after:
            raise CertificateError
        return found.key

    def _fresh(self, url: str) -> _Cached | None:
        found = self._known.get(url)
        return found if found is not None and self._clock_s() - found.fetched_s < MAX_AGE_S else None

    async def _fetched(self, url: str) -> _Cached:
        now_s = self._clock_s()
        self._fetches = [at_s for at_s in self._fetches if now_s - at_s < FETCHES_PER_S]
        if len(self._fetches) >= MAX_FETCHES:
            raise FetchError
        self._fetches.append(now_s)
        found = _read(await self._certificates.fetch(url), now_s)
        while len(self._known) >= MAX_CACHED:
            del self._known[next(iter(self._known))]
        self._known[url] = found
        return found


def _read(pem: bytes, now_s: float) -> _Cached:
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateError from error
    if not isinstance(key, RSAPublicKey) or key.key_size < MIN_KEY_BITS:
        raise CertificateError
    return _Cached(key, certificate.not_valid_before_utc, certificate.not_valid_after_utc, now_s)


async def _limited(content: aiohttp.StreamReader) -> bytes:
    """Read what an answer holds; raises FetchError once it is more than 64 KiB."""
    found = bytearray()
    async for part in content.iter_any():
        found += part
        if len(found) > MAX_ANSWER_BYTES:
            raise FetchError
    return bytes(found)
