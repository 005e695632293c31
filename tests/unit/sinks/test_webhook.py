"""Webhooks are signed so that the standard's own library verifies them."""

import base64
from datetime import UTC, datetime

import httpx
import pytest
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from publishing.runtime.clock import now_ms
from sinks.channels.webhook import CHANNEL, sign
from sinks.contract import Article, ConfigError, Item, Letter

pytestmark = pytest.mark.unit
KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
CONFIG = CHANNEL.parse_config({"url": "https://example.org/hook", "secret": SECRET})
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def letter_of(url: str | None) -> Letter:
    """A room's letter with one article whose address may be linked to or not."""
    article = Article(
        content_id=7, version=1, title="T", summary="S", url="javascript:alert(1)" if url is None else url, author="A",
        language="en", topics=("go",), published_at=NOW,
    )  # fmt: skip
    return Letter(
        run_id=77, publication_id=12, channel_id=3, destination=41, publication="Weekly",
        items=(Item(article=article, link=url and "https://t.example.org/c/a/b"),), sent_at=NOW,
    )  # fmt: skip


def test_the_standards_library_verifies() -> None:
    """Signature, id and body verify together, and no altered byte does."""
    message = CHANNEL.render(letter_of("https://example.org/a"), CONFIG)
    assert message.webhook_id == "dlv_77_3_41"
    timestamp_s = now_ms() // 1_000
    headers = {
        "webhook-id": message.webhook_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": sign(KEY, message.webhook_id, timestamp_s, message.body),
    }
    document = Webhook(SECRET).verify(message.body.decode(), headers)
    assert set(document) == {"type", "timestamp", "data"}
    assert document["data"]["articles"][0]["id"] == 7
    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(message.body.decode() + " ", headers)


def test_addresses_that_may_not_be_linked_are_not_sent() -> None:
    """An address that cannot be signed is in no field."""
    assert b"javascript" not in CHANNEL.render(letter_of(None), CONFIG).body


async def test_a_secret_that_is_changed_signs_twice() -> None:
    """While a secret is changed the message carries a signature by each, and a receiver of either takes it."""
    old = "whsec_" + base64.b64encode(bytes(range(24))).decode()
    config = CHANNEL.parse_config({"url": "https://example.org/hook", "secret": SECRET, "previous_secret": old})
    sent: list[httpx.Request] = []

    def receive(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200)

    async with httpx.AsyncClient(transport=httpx.MockTransport(receive)) as client:
        await CHANNEL.deliver(client, config, CHANNEL.render(letter_of("https://example.org/a"), config))
    for secret in (SECRET, old):
        assert Webhook(secret).verify(sent[0].content, dict(sent[0].headers))
    with pytest.raises(ConfigError) as caught:
        CHANNEL.parse_config({"url": "https://example.org/hook", "secret": SECRET, "previous_secret": "x"})
    assert caught.value.field == "previous_secret"
