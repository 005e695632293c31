"""What a simulated reader does with a mail: decided by a seed, so that a run can be repeated."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# Browsers on a desktop and a phone, as a person's web mail shows them to a server.
_CHROME = "Mozilla/5.0 ({}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
_SAFARI = "Mozilla/5.0 ({}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 {}"
AGENTS = (
    _CHROME.format("Windows NT 10.0; Win64; x64"),
    _CHROME.format("Macintosh; Intel Mac OS X 10_15_7"),
    "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
    _SAFARI.format("Macintosh; Intel Mac OS X 10_15_7", "Safari/605.1.15"),
    _SAFARI.format("iPhone; CPU iPhone OS 18_6 like Mac OS X", "Mobile/15E148 Safari/604.1"),
)
_LANGUAGES = ("en-GB,en;q=0.9", "en-US,en;q=0.8", "fr-FR,fr;q=0.9,en;q=0.6", "de-DE,de;q=0.9,en;q=0.5")


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """The shares of mails that are opened, clicked and unsubscribed, each in [0, 1], and the delay before, in s.

    One draw decides opening and clicking: who clicks has opened, as long as the click ratio is the smaller. A share of
    the mails passes a gateway, which follows every link at once before a person sees the mail.
    """

    seed: int
    open_ratio: float = 0.6
    click_ratio: float = 0.3
    unsubscribe_ratio: float = 0.0
    gateway_ratio: float = 0.0
    min_delay_s: float = 0.0
    max_delay_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """What will be done with one mail; `link_draw` in [0, 1) chooses among its links."""

    opens: bool
    clicks: bool
    unsubscribes: bool
    link_draw: float
    delay_s: float
    agent: str
    language: str
    is_gated: bool = False

    def choose_link(self, links: tuple[str, ...]) -> str | None:
        """Return the link to click, or None when there is none."""
        return links[int(self.link_draw * len(links))] if links else None


def mail_key(row: Mapping[str, Any]) -> str:
    """Return what names a mail in any run: its addresses, subject and tags, but not the provider's id."""
    tags = ",".join(f"{name}={value}" for name, value in sorted(row.get("tags", {}).items()))
    return "\n".join((*row.get("to", ()), row.get("subject", ""), tags))


def hash_of(address: str) -> str:
    """Return 16 hex digits that stand for an address in the log."""
    return hashlib.sha256(address.casefold().encode()).hexdigest()[:16]


def intent_of(key: str, habits: Habits) -> Intent:
    """Return the same intent for the same mail and seed, in any order and any process."""
    draws = random.Random(f"{habits.seed}/{key}")
    interest, leaving, link_draw = draws.random(), draws.random(), draws.random()
    return Intent(
        opens=interest < habits.open_ratio,
        clicks=interest < habits.click_ratio,
        unsubscribes=leaving < habits.unsubscribe_ratio,
        link_draw=link_draw,
        delay_s=draws.uniform(habits.min_delay_s, habits.max_delay_s),
        agent=draws.choice(AGENTS),
        language=draws.choice(_LANGUAGES),
        is_gated=draws.random() < habits.gateway_ratio,
    )
