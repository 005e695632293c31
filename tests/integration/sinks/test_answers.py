"""What a channel makes of every answer that a provider or a network can give."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from publishing.runtime.settings import Settings
from sinks.channels import load
from sinks.contract import Accepted, Ambiguous, Article, Item, Letter, Outcome, Refused, Retry

pytestmark = pytest.mark.integration
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
KINDS = ["email", "slack", "discord", "webhook"]


class Server:
    """A TCP server that counts requests and answers each with the same bytes, None to cut the connection."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.requests: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read one whole request, then answer or reset."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(v) for k, _, v in (h.partition(b":") for h in head.split(b"\r\n")) if k.lower() == b"content-length"),
            0,
        )
        self.requests.append(head + await reader.readexactly(length))
        if self.answer is None:
            writer.transport.abort()
            return
        writer.write(self.answer)
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(answer: bytes | None) -> AsyncIterator[tuple[Server, str]]:
    """The server and its address."""
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listening:
        yield server, f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


def http(status: int, body: bytes = b"{}", *headers: str) -> bytes:
    """The bytes of an answer."""
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def letter_of(kind: str) -> Letter:
    """A letter of one article."""
    article = Article(
        content_id=1, version=1, title="T", summary="S", url="https://example.org/", author=None, language="en",
        topics=(), published_at=NOW,
    )  # fmt: skip
    return Letter(
        run_id=1, publication_id=1, channel_id=1, destination=1, publication="W", sent_at=NOW,
        items=(Item(article=article, link="https://example.org/c/a/b"),),
        address="reader@example.org" if kind == "email" else None,
    )  # fmt: skip


def config_of(kind: str, url: str) -> dict[str, Any]:
    """A configuration that leads to a server."""
    return {
        "email": {"sender": "news@example.org"},
        "slack": {"webhook_url": url + "/services/a"},
        "discord": {"webhook_url": url + "/api/webhooks/a"},
        "webhook": {"url": url + "/hook", "secret": SECRET},
    }[kind]


async def outcome_of(kind: str, url: str) -> Outcome:
    """Send one letter to an address."""
    channel = load()[kind]
    config = channel.parse_config(config_of(kind, url))
    settings = Settings(ses_endpoint_url=url)
    async with channel.open(settings) as connection:
        return await channel.deliver(connection, config, channel.render(letter_of(kind), config))


@pytest.mark.parametrize("kind", KINDS)
async def test_a_reset_after_the_send_is_ambiguous(kind: str) -> None:
    """A connection that ends without an answer was one request, and its answer is lost."""
    async with serving(None) as (server, url):
        assert isinstance(await outcome_of(kind, url), Ambiguous)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_no_connection_is_a_retry(kind: str) -> None:
    """Where nobody listens nothing was sent."""
    async with serving(None) as (_, url):
        pass
    assert await outcome_of(kind, url) == Retry("not_connected")


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_of_the_server_is_a_retry_after_one_request(kind: str) -> None:
    """A 500 says that it was not taken; the client does not try again by itself."""
    async with serving(http(500)) as (server, url):
        assert isinstance(await outcome_of(kind, url), Retry)
    assert len(server.requests) == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_throttles_are_obeyed(kind: str) -> None:
    """A 429 is a throttle, with the wait that was asked for where the provider has that header."""
    async with serving(http(429, b"{}", "Retry-After: 7")) as (_, url):
        outcome = await outcome_of(kind, url)
    assert isinstance(outcome, Retry)
    assert outcome.is_throttle
    assert outcome.after_s == (None if kind == "email" else 7.0)


@pytest.mark.parametrize("kind", KINDS)
async def test_refusals_and_redirects_are_the_end(kind: str) -> None:
    """A 400 and, for a webhook, a redirect are refusals; no redirect is followed."""
    async with serving(http(400)) as (_, url):
        assert isinstance(await outcome_of(kind, url), Refused)
    if kind != "email":
        async with serving(http(302, b"", f"Location: {url}/elsewhere")) as (server, url):
            assert isinstance(await outcome_of(kind, url), Refused)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("kind", "status", "disables"),
    [
        ("slack", 404, True),
        ("slack", 410, True),
        ("slack", 403, False),
        ("discord", 404, True),
        ("webhook", 410, True),
        ("webhook", 404, False),
    ],
)
async def test_what_is_gone_disables_the_channel(kind: str, status: int, disables: bool) -> None:  # noqa: FBT001
    """Only the answers that say so for good disable a channel."""
    async with serving(http(status, b"no_service")) as (_, url):
        outcome = await outcome_of(kind, url)
    assert isinstance(outcome, Refused)
    assert outcome.disable_channel is disables


@pytest.mark.parametrize(("kind", "status"), [("slack", 502), ("slack", 504), ("discord", 502), ("discord", 504)])
async def test_a_gateways_error_is_ambiguous_without_idempotency(kind: str, status: int) -> None:
    """Behind a gateway that lost its answer a message may stand; a webhook's receiver would know it by its id."""
    async with serving(http(status)) as (_, url):
        assert isinstance(await outcome_of(kind, url), Ambiguous)
    async with serving(http(status)) as (_, url):
        assert isinstance(await outcome_of("webhook", url), Retry)


async def test_ids_of_the_providers_are_kept() -> None:
    """The id in a provider's answer is the delivery's provider id; Slack has none to give."""
    async with serving(http(200, b'{"id": "99"}')) as (server, url):
        assert await outcome_of("discord", url) == Accepted("99")
        assert b"wait=true" in server.requests[0]
        assert await outcome_of("slack", url) == Accepted(None)
        assert await outcome_of("webhook", url) == Accepted("dlv_1_1_1")
    async with serving(http(200, b'{"MessageId": "m-1"}')) as (server, url):
        assert await outcome_of("email", url) == Accepted("m-1")
        assert b'"delivery"' in server.requests[0]


async def test_discord_waits_in_milliseconds_are_capped() -> None:
    """A body's retry_after is read where there is no header, and nonsense is capped."""
    async with serving(http(429, b'{"retry_after": 0.5}')) as (_, url):
        assert await outcome_of("discord", url) == Retry("throttled", 0.5, is_throttle=True)
    async with serving(http(429, b'{"retry_after": 99999999999}')) as (_, url):
        assert await outcome_of("discord", url) == Retry("throttled", 3_600.0, is_throttle=True)
