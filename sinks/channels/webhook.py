"""Signed webhooks by Standard Webhooks 1.0.0: one JSON document below 20 KB, signed over its bytes."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import httpx
import msgspec

from publishing.domain.truncation import one_line, shorten
from publishing.runtime.clock import now_ms
from sinks.contract import (
    Accepted,
    ConfigError,
    Item,
    Letter,
    Limits,
    Outcome,
    Refused,
    Retry,
    Validation,
    refuse_unknown,
)
from sinks.posting import LOST_BEHIND_A_GATEWAY, THROTTLED, Answer, open_http, post, require_url

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md (payload below 20 KB)
MAX_BODY_BYTES = 20_000
_SECRET_PREFIX = "whsec_"  # noqa: S105  - the prefix by which a secret is known, not a secret
_MIN_KEY_BYTES, _MAX_KEY_BYTES = 24, 64
_ALSO_THROTTLED = THROTTLED | LOST_BEHIND_A_GATEWAY
_TRYABLE = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY})


@dataclass(frozen=True, slots=True)
class WebhookConfig:
    """Where to post, and the keys that sign: the present one and, while the secret is changed, the one before."""

    url: str = field(repr=False)
    keys: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class WebhookMessage:
    """The bytes that are signed and posted, and the id that stays the same over all attempts."""

    webhook_id: str
    body: bytes = field(repr=False)


def sign(key: bytes, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """The signature header: `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`."""
    signed = b".".join((webhook_id.encode(), str(timestamp_s).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _key(config: Mapping[str, Any], name: str) -> bytes:
    """The bytes of a secret; raises ConfigError."""
    secret = config.get(name)
    if not isinstance(secret, str) or not secret.startswith(_SECRET_PREFIX):
        raise ConfigError(name, "must start with whsec_")
    try:
        key = base64.b64decode(secret.removeprefix(_SECRET_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ConfigError(name, "must be base64 after whsec_") from None
    if not _MIN_KEY_BYTES <= len(key) <= _MAX_KEY_BYTES:
        raise ConfigError(name, "must hold 24 to 64 bytes")
    return key


def _article(item: Item, *, title_chars: int, summary_chars: int, has_link: bool, has_url: bool) -> dict[str, Any]:
    article = item.article
    document: dict[str, Any] = {"id": article.content_id, "title": shorten(one_line(article.title), title_chars)}
    if has_url:
        document["url"] = article.url
    if has_link:
        document["link"] = item.link
    if summary_chars:
        document |= {
            "version": article.version,
            "summary": shorten(one_line(article.summary), summary_chars),
            "author": article.author and shorten(one_line(article.author), 100),
            "language": article.language,
            "topics": list(article.topics[:10]),
            "published_at": article.published_at.isoformat(),
        }
    return document


# (title, summary, tracked link, own address): from the richest to the barest; no article is ever left out.
_LEVELS: Sequence[tuple[int, int, bool, bool]] = (
    (300, 1_000, True, True),
    (300, 300, True, True),
    (200, 100, True, True),
    (200, 0, True, True),
    (100, 0, True, False),
    (100, 0, False, True),
    (60, 0, False, False),
)


class Webhook:
    """Posts to one endpoint of somebody's own."""

    name = "webhook"
    limits = Limits(
        per_second=10.0,
        burst=10,
        max_size=MAX_BODY_BYTES,
        unit="bytes",
        source="https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
    )

    open = staticmethod(open_http)

    def parse_config(self, config: Mapping[str, Any]) -> WebhookConfig:
        """Read {"url", "secret", "previous_secret": null}; raises ConfigError.

        A secret is `whsec_` and base64 of 24 to 64 bytes.
        """
        refuse_unknown(config, ("url", "secret", "previous_secret"))
        url = require_url(config, "url")
        names = ("secret",) if config.get("previous_secret") is None else ("secret", "previous_secret")
        return WebhookConfig(url, tuple(_key(config, name) for name in names))

    async def validate(self, config: WebhookConfig) -> Validation:
        """An endpoint can only be tried by posting to it."""
        del config
        return Validation("untested", "an endpoint is tried by a test message only")

    def render(self, letter: Letter, config: WebhookConfig) -> WebhookMessage:
        """Render {type, timestamp, data} with every article's id, summaries as long as the size allows."""
        del config
        bodies = (self._body(letter, level) for level in _LEVELS)
        body = next(body for body in bodies if len(body) < MAX_BODY_BYTES)
        return WebhookMessage(f"dlv_{letter.run_id}_{letter.channel_id}_{letter.destination}", body)

    @staticmethod
    def _body(letter: Letter, level: tuple[int, int, bool, bool]) -> bytes:
        title_chars, summary_chars, has_link, has_url = level
        return msgspec.json.encode(
            {
                "type": "publication.delivered",
                "timestamp": letter.sent_at.isoformat(),
                "data": {
                    "run_id": letter.run_id,
                    "publication_id": letter.publication_id,
                    "publication": shorten(one_line(letter.publication), 200),
                    "channel_id": letter.channel_id,
                    "articles": [
                        _article(
                            item,
                            title_chars=title_chars,
                            summary_chars=summary_chars,
                            has_link=has_link,
                            # An address that may not be linked to is no use to a receiver either.
                            has_url=has_url and item.link is not None,
                        )
                        for item in letter.items
                    ],
                },
            }
        )

    def size(self, message: WebhookMessage) -> int:
        """The bytes of the body."""
        return len(message.body)

    async def deliver(self, connection: httpx.AsyncClient, config: WebhookConfig, message: WebhookMessage) -> Outcome:
        """Sign with the time of this attempt and post once; only 2xx is success."""
        timestamp_s = now_ms() // 1_000
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message.webhook_id,
            "webhook-timestamp": str(timestamp_s),
            # A receiver takes any of them: so a secret is changed without a message lost.
            "webhook-signature": " ".join(
                sign(key, message.webhook_id, timestamp_s, message.body) for key in config.keys
            ),
        }
        answer = await post(connection, config.url, message.body, headers=headers)
        if not isinstance(answer, Answer):
            return answer
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            return Accepted(message.webhook_id)
        if answer.status == HTTPStatus.GONE:
            return Refused("gone", disable_channel=True)
        # A receiver tells a repeat by its webhook-id, so that an unclear 5xx may be tried again.
        if answer.status in _ALSO_THROTTLED:
            is_throttle = answer.status == HTTPStatus.TOO_MANY_REQUESTS
            return Retry(f"http_{answer.status}", answer.asked_wait_s, is_throttle=is_throttle)
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _TRYABLE:
            return Retry(f"http_{answer.status}")
        return Refused(f"http_{answer.status}")


CHANNEL = Webhook()
