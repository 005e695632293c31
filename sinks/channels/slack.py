"""Slack by incoming webhooks: Block Kit within its limits, mentions neutral, a fallback text."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import httpx

from publishing.domain.truncation import one_line, shorten, width
from sinks.contract import (
    Accepted,
    Item,
    Letter,
    Limits,
    Outcome,
    Refused,
    Validation,
    gathered,
    refuse_unknown,
)
from sinks.posting import Answer, open_http, post_unrepeatable, require_url

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


def _layouts(items: Sequence[Item]) -> list[list[str]]:
    """The texts of the sections, from the richest layout to the barest."""
    layouts = [[_tracked(150, 300)(item) for item in items]] if len(items) <= _FULL_ITEMS else []
    return layouts + [gathered(["\u2022 " + line(item) for item in items], MAX_SECTION) for line in _LISTS]


def _fits(texts: Sequence[str], room: int) -> bool:
    widths = [width(text) for text in texts]
    return len(texts) < MAX_BLOCKS and max(widths, default=0) <= MAX_SECTION and sum(widths) <= room


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

    open = staticmethod(open_http)

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
        texts = next(layout for layout in _layouts(letter.items) if _fits(layout, room))
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

    async def deliver(self, connection: httpx.AsyncClient, config: SlackConfig, message: SlackMessage) -> Outcome:
        """Post once; the webhook answers `ok` and has no message id to give."""
        answer = await post_unrepeatable(connection, config.webhook_url, message.body)
        if not isinstance(answer, Answer):
            return answer
        if answer.status == HTTPStatus.OK:
            return Accepted(None)
        return Refused(answer.text() or f"http_{answer.status}", disable_channel=answer.status in _GONE)


CHANNEL = Slack()
