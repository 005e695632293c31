"""One POST to a provider by HTTP: no redirects, no proxy, a deadline, and what each kind of failure means."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from sinks.contract import TIMEOUT_S, Ambiguous, ConfigError, Retry
from sinks.retry_after import body_retry_after, parse_retry_after

MAX_ANSWER_BYTES = 65_536
MAX_CONNECTIONS = 64
# Shorter than what servers usually keep: a connection that the peer has just closed looks like a lost answer.
KEEPALIVE_S = 4.0
# The causes that prove that no connection was made, so that nothing was sent. A reset is none of them.
NOT_SENT = (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError, aiohttp.InvalidURL, socket.gaierror)
# The provider or a proxy before it was overloaded and has not taken the message.
THROTTLED = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
# The gateway before the provider has passed the message on and lost the answer.
LOST_BEHIND_A_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider answered; `body` is at most 64 KiB of it, `asked_wait_s` what it asked us to wait."""

    status: int
    body: bytes = field(repr=False)
    asked_wait_s: float | None = None

    def json(self) -> Any:
        """The body as JSON, None when it is none."""
        try:
            return msgspec.json.decode(self.body)
        except (msgspec.MsgspecError, ValueError):
            return None

    def text(self) -> str:
        """The start of the body for a reason: one line of at most 80 printable ASCII characters."""
        return "".join(c for c in self.body[:80].decode("ascii", "replace") if c.isprintable() and c.isascii())


@asynccontextmanager
async def open_http(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """The `open` of a channel over HTTP: a client that follows no redirect and reads no proxy from the environment."""
    del settings
    connector = aiohttp.TCPConnector(limit=MAX_CONNECTIONS, keepalive_timeout=KEEPALIVE_S)
    session = aiohttp.ClientSession(connector=connector, trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
    async with (
        session,
        httpx.AsyncClient(
            transport=AiohttpTransport(client=session),
            timeout=httpx.Timeout(TIMEOUT_S, connect=5.0),
            follow_redirects=False,
            trust_env=False,
        ) as client,
    ):
        yield client


async def post(
    client: httpx.AsyncClient, url: str, content: bytes, *, headers: Mapping[str, str]
) -> Answer | Retry | Ambiguous:
    """POST once. A connection that was never made is a Retry; whatever fails after that is Ambiguous."""
    try:
        async with client.stream("POST", url, content=content, headers=dict(headers)) as response:
            body = await _read_start(response)
            return Answer(response.status_code, body, _asked_wait(response, body, utc_now()))
    except (httpx.HTTPError, aiohttp.ClientError, TimeoutError, OSError) as error:
        # The transport names a reset connection ConnectTimeout: only the cause below says whether we were connected.
        cause = error if isinstance(error, aiohttp.ClientError) else error.__cause__
        if isinstance(cause, NOT_SENT) or isinstance(error, httpx.UnsupportedProtocol):
            return Retry("not_connected")
        return Ambiguous("timeout" if _is_timeout(error, cause) else "connection_lost")


async def post_unrepeatable(client: httpx.AsyncClient, url: str, message: Any) -> Answer | Retry | Ambiguous:
    """POST a message as JSON to a provider that would show a repeat twice; what comes back as an Answer is final.

    A throttle and a 5xx are a Retry, but not those of a gateway that may have passed the message on.
    """
    answer = await post(client, url, msgspec.json.encode(message), headers={"Content-Type": "application/json"})
    if not isinstance(answer, Answer):
        return answer
    if answer.status in THROTTLED:
        return Retry("throttled", answer.asked_wait_s, is_throttle=True)
    if answer.status in LOST_BEHIND_A_GATEWAY:
        return Ambiguous(f"http_{answer.status}")
    if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return Retry(f"http_{answer.status}")
    return answer


def _is_timeout(error: Exception, cause: BaseException | None) -> bool:
    return isinstance(cause, TimeoutError) or isinstance(error, TimeoutError | httpx.ReadTimeout | httpx.WriteTimeout)


async def _read_start(response: httpx.Response) -> bytes:
    body = b""
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) >= MAX_ANSWER_BYTES:
            break
    return body[:MAX_ANSWER_BYTES]


def _asked_wait(response: httpx.Response, body: bytes, now: datetime) -> float | None:
    if response.status_code not in THROTTLED:
        return None
    for name in ("retry-after", "x-ratelimit-reset-after"):
        wait_s = parse_retry_after(response.headers.get(name), now)
        if wait_s is not None:
            return wait_s
    return body_retry_after(Answer(response.status_code, body).json())


def require_url(config: Mapping[str, Any], name: str) -> str:
    """An absolute http(s) address without user and fragment; raises ConfigError, which never shows the address."""
    value = config.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(name, "is required")
    if len(value) > 2_000 or not value.isascii() or not value.isprintable() or " " in value:  # noqa: PLR2004  - said below
        raise ConfigError(name, "must be an address of at most 2,000 printable ASCII characters")
    try:
        parts = urlsplit(value)
        port_is_valid = parts.port is None or parts.port > 0
    except ValueError:
        raise ConfigError(name, "is not an address") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_valid:
        raise ConfigError(name, "must be an absolute http or https address")
    if parts.username is not None or parts.password is not None or parts.fragment:
        raise ConfigError(name, "must have no user, password or fragment")
    return value
