"""Discord by webhooks: embeds within their limits, no mention allowed, the message's id awaited."""

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

# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
MAX_EMBEDS = 10
MAX_TITLE = 256
MAX_DESCRIPTION = 4_096
MAX_ALL_EMBEDS = 6_000
# https://discord.com/developers/docs/resources/webhook#execute-webhook
MAX_CONTENT = 2_000
MAX_NONCE = 25
_MARKDOWN = re.compile(r"([\\*_~`|>\[\]()#<:-])")
# Kept as they are in an address inside (...); Discord ends the address at any other.
_ADDRESS_SAFE = "!#$%&'*+,/:;=?@~-._"

Line = Callable[[Item], str]


@dataclass(frozen=True, slots=True)
class DiscordConfig:
    """The webhook's address is its secret."""

    webhook_url: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DiscordMessage:
    """The body of one post."""

    body: dict[str, Any]


def neutral(text: str) -> str:
    """Text that mentions nobody and formats nothing, whatever it says."""
    return _MARKDOWN.sub(r"\\\1", one_line(text)).replace("@", "@\u200b")


def _link(address: str, text: str) -> str:
    return f"[{text}]({quote(address, safe=_ADDRESS_SAFE)})"


def _tracked(title_chars: int) -> Line:
    def line(item: Item) -> str:
        title = neutral(shorten(one_line(item.article.title), title_chars)) or "-"
        return _link(item.link, title) if item.link else title

    return line


def _untracked(item: Item) -> str:
    title = neutral(shorten(one_line(item.article.title), 30)) or "-"
    return _link(item.article.url, title) if item.link else title


def _title_only(item: Item) -> str:
    return neutral(shorten(one_line(item.article.title), 40)) or "-"


# From the richest to the barest: the first whose embeds fit is taken, and no article is ever left out.
_LISTS: tuple[Line, ...] = (_tracked(100), _tracked(50), _tracked(25), _untracked, _title_only)


def _cards(items: Sequence[Item], summary_chars: int) -> list[dict[str, Any]]:
    """An embed for each article; the address of an embed's title does not count towards any limit."""
    cards = []
    for item in items:
        card: dict[str, Any] = {"title": shorten(neutral(item.article.title), MAX_TITLE) or "-"}
        if item.link:
            card["url"] = item.link
        summary = neutral(shorten(one_line(item.article.summary), summary_chars))
        if summary:
            card["description"] = summary
        cards.append(card)
    return cards


def _lists(lines: Sequence[str]) -> list[dict[str, Any]]:
    return [{"description": text} for text in gathered(lines, MAX_DESCRIPTION)]


def _layouts(items: Sequence[Item]) -> list[list[dict[str, Any]]]:
    layouts = [_cards(items, chars) for chars in (350, 150, 0)] if len(items) <= MAX_EMBEDS else []
    return layouts + [_lists(["\u2022 " + line(item) for item in items]) for line in _LISTS]


def _embed_chars(embeds: Sequence[Mapping[str, Any]]) -> int:
    return sum(width(embed.get("title", "")) + width(embed.get("description", "")) for embed in embeds)


def _fits(embeds: Sequence[Mapping[str, Any]]) -> bool:
    return (
        len(embeds) <= MAX_EMBEDS
        and _embed_chars(embeds) <= MAX_ALL_EMBEDS
        and all(width(embed.get("description", "")) <= MAX_DESCRIPTION for embed in embeds)
    )


class Discord:
    """Posts to one Discord channel by its webhook."""

    name = "discord"
    limits = Limits(
        # Seen in X-RateLimit-* of webhooks: 5 requests in 2 s.
        per_second=2.5,
        burst=5,
        max_size=MAX_ALL_EMBEDS,
        unit="characters",
        source="https://discord.com/developers/docs/topics/rate-limits",
    )

    open = staticmethod(open_http)

    def parse_config(self, config: Mapping[str, Any]) -> DiscordConfig:
        """Read {"webhook_url"}; raises ConfigError."""
        refuse_unknown(config, ("webhook_url",))
        return DiscordConfig(require_url(config, "webhook_url"))

    async def validate(self, config: DiscordConfig) -> Validation:
        """A webhook can only be tried by posting to it."""
        del config
        return Validation("untested", "a webhook is tried by a test message only")

    def render(self, letter: Letter, config: DiscordConfig) -> DiscordMessage:
        """Render an embed for each of up to ten articles, lists of links beyond."""
        del config
        embeds = next(layout for layout in _layouts(letter.items) if _fits(layout))
        return DiscordMessage(
            {
                "content": shorten(f"**{neutral(letter.publication) or '-'}**", MAX_CONTENT),
                "embeds": embeds,
                "allowed_mentions": {"parse": []},
                "nonce": letter.key[:MAX_NONCE],
            }
        )

    def size(self, message: DiscordMessage) -> int:
        """The characters in all embeds."""
        return _embed_chars(message.body["embeds"])

    async def deliver(self, connection: httpx.AsyncClient, config: DiscordConfig, message: DiscordMessage) -> Outcome:
        """Post once with ?wait=true, so that the answer holds the message's id."""
        url = config.webhook_url + ("&" if "?" in config.webhook_url else "?") + "wait=true"
        answer = await post_unrepeatable(connection, url, message.body)
        if not isinstance(answer, Answer):
            return answer
        if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
            created = answer.json()
            return Accepted(str(created["id"]) if isinstance(created, dict) and "id" in created else None)
        return Refused(f"http_{answer.status}", disable_channel=answer.status == HTTPStatus.NOT_FOUND)


CHANNEL = Discord()
