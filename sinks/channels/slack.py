"""Slack by incoming webhooks: Block Kit within its limits, mentions neutral, a fallback text."""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx
import msgspec

from publishing.domain.truncation import one_line, shorten, width
from publishing.runtime.settings import Settings
from sinks.contract import (
    Accepted,
    Ambiguous,
    Item,
    Letter,
    Limits,
    Outcome,
    Refused,
    Retry,
    Validation,
    refuse_unknown,
)
from sinks.posting import THROTTLED, open_http, post, require_url

# https://docs.slack.dev/reference/block-kit/blocks
MAX_BLOCKS = 50
MAX_SECTION = 3_000
MAX_HEADER = 150
# Beyond about 13,200 characters in all blocks the answer is msg_blocks_too_long.
MAX_BLOCK_CHARS = 13_000
# https://docs.slack.dev/reference/methods/chat.postMessage#truncating recommends 4,000.
MAX_FALLBACK = 4_000
_FULL_ITEMS = 10
_GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
_LOST_BEHIND_A_GATEWAY = frozenset({HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT})
_BROADCAST = re.compile(r"@(channel|here|everyone)\b", re.IGNORECASE)
# Kept as they are in an address inside <...|...>; Slack ends the address at any other.
_ADDRESS_SAFE = "!#$%'()*+,/:;=?@[]~-._&"
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

Line = Callable[[Item], str]


@dataclass(frozen=True, slots=True)
class SlackConfig:
    """The webhook's address is its secret."""

    webhook_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """The body of one post."""

    body: dict[str, Any]


def neutral(text: str) -> str:
    """Text that mentions nobody and links nowhere, whatever it says."""
    return _BROADCAST.sub("@\u200b\\1", one_line(text)).translate(_ESCAPES)


def _link(address: str, text: str) -> str:
    # A bar is read as the end of the address only outside of it, but no text needs one.
    return f"<{quote(address, safe=_ADDRESS_SAFE).replace('&', '&amp;')}|{text.replace('|', '/')}>"


def _tracked(title_chars: int, summary_chars: int = 0) -> Line:
    def line(item: Item) -> str:
        title = neutral(shorten(one_line(item.article.title), title_chars)) or "-"
        headline = _link(item.link, title) if item.link else title
        summary = neutral(shorten(one_line(item.article.summary), summary_chars)) if summary_chars else ""
        return f"*{headline}*\n{summary}" if summary else headline

    return line


def _untracked(item: Item) -> str:
    title = neutral(shorten(one_line(item.article.title), 60)) or "-"
    return _link(item.article.url, title) if item.link else title


def _title_only(item: Item) -> str:
    return neutral(shorten(one_line(item.article.title), 40)) or "-"


# From the richest to the barest: the first whose blocks fit is taken, and no article is ever left out.
_LISTS: tuple[Line, ...] = (_tracked(150), _tracked(80), _tracked(40), _tracked(20), _untracked, _title_only)


def _sections(lines: Sequence[str]) -> list[str] | None:
    """Lines gathered into section texts, None when a line alone is too long for one."""
    sections: list[str] = []
    for line in lines:
        if width(line) > MAX_SECTION:
            return None
        if sections and width(sections[-1]) + 1 + width(line) <= MAX_SECTION:
            sections[-1] += "\n" + line
        else:
            sections.append(line)
    return sections


def _layouts(items: Sequence[Item]) -> "list[list[str] | None]":
    layouts: list[list[str] | None] = []
    if len(items) <= _FULL_ITEMS:
        full = [_tracked(150, 300)(item) for item in items]
        layouts.append(full if all(width(text) <= MAX_SECTION for text in full) else None)
    layouts += [_sections(["\u2022 " + line(item) for item in items]) for line in _LISTS]
    return layouts


class Slack:
    """Posts to one Slack channel by its incoming webhook."""

    name = "slack"
    limits = Limits(
        per_second=1.0,
        burst=1,
        max_size=MAX_BLOCK_CHARS,
        unit="characters",
        source="https://docs.slack.dev/apis/web-api/rate-limits",
    )

    def parse_config(self, config: Mapping[str, Any]) -> SlackConfig:
        """Read {"webhook_url"}; raises ConfigError."""
        refuse_unknown(config, ("webhook_url",))
        return SlackConfig(require_url(config, "webhook_url"))

    async def validate(self, config: SlackConfig) -> Validation:
        """A webhook can only be tried by posting to it."""
        del config
        return Validation("untested", "an incoming webhook is tried by a test message only")

    def render(self, letter: Letter, config: SlackConfig) -> SlackMessage:
        """Render a header and the articles: a section each up to ten of them, lists of links beyond."""
        del config
        header = shorten(one_line(letter.publication), MAX_HEADER) or "-"
        room = MAX_BLOCK_CHARS - width(header)
        texts = next(
            layout
            for layout in _layouts(letter.items)
            if layout is not None and len(layout) < MAX_BLOCKS and sum(map(width, layout)) <= room
        )
        titles = "; ".join(shorten(one_line(item.article.title), 70) for item in letter.items)
        blocks: list[dict[str, Any]] = [
            {"type": "header", "text": {"type": "plain_text", "text": header, "emoji": False}}
        ]
        blocks += [{"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}} for text in texts]
        return SlackMessage(
            {
                "text": shorten(neutral(f"{header}: {titles}"), MAX_FALLBACK),
                "blocks": blocks,
                "unfurl_links": False,
                "unfurl_media": False,
                "metadata": {"event_type": "tidewire_delivery", "event_payload": {"delivery": letter.key}},
            }
        )

    def size(self, message: SlackMessage) -> int:
        """The characters in all blocks."""
        return sum(width(block["text"]["text"]) for block in message.body["blocks"])

    def open(self, settings: Settings) -> AbstractAsyncContextManager[httpx.AsyncClient]:
        """An HTTP client."""
        del settings
        return open_http()

    async def deliver(self, connection: httpx.AsyncClient, config: SlackConfig, message: SlackMessage) -> Outcome:
        """Post once; the webhook answers `ok` and has no message id to give."""
        body = msgspec.json.encode(message.body)
        answer = await post(connection, config.webhook_url, body, headers={"Content-Type": "application/json"})
        if isinstance(answer, Retry | Ambiguous):
            return answer
        if answer.status == HTTPStatus.OK:
            return Accepted(None)
        if answer.status in THROTTLED:
            return Retry("throttled", answer.asked_wait_s, is_throttle=True)
        if answer.status in _LOST_BEHIND_A_GATEWAY:
            return Ambiguous(f"http_{answer.status}")
        if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            return Retry(f"http_{answer.status}")
        return Refused(answer.text() or f"http_{answer.status}", disable_channel=answer.status in _GONE)


CHANNEL = Slack()
