"""What a channel is: its limits, what it renders from, how a delivery ends, and the port that every channel fills."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from publishing.domain.truncation import width
from publishing.runtime.settings import Settings

# The planner puts no more articles than this into one delivery; every channel renders as many without losing one.
MAX_ARTICLES = 50
# A provider that has not answered by then may still have accepted: the answer is lost.
TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a provider allows: messages per second, the size of one message in the provider's unit, and its source."""

    per_second: float
    burst: int
    max_size: int
    unit: Literal["bytes", "characters", "entries"]
    source: str


class ConfigError(ValueError):
    """A channel's configuration is not usable: mend the named field."""

    def __init__(self, field_name: str, message: str) -> None:
        super().__init__(f"{field_name}: {message}")
        self.field = field_name
        self.message = message


@dataclass(frozen=True, slots=True)
class Validation:
    """What is known of a configuration: checked against the provider (ok, failed) or not (untested)."""

    status: Literal["ok", "failed", "untested"]
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider has the message, under its own id."""

    provider_message_id: str | None


@dataclass(frozen=True, slots=True)
class Retry:
    """The provider has not taken the message and may take it later, `after_s` from now when it said so.

    `is_throttle` says that the provider asked us to slow down: no attempt is lost by that.
    """

    reason: str
    after_s: float | None = None
    is_throttle: bool = False


@dataclass(frozen=True, slots=True)
class Refused:
    """The provider will never take this message; with `disable_channel`, nothing from this channel any more."""

    reason: str
    disable_channel: bool = False


@dataclass(frozen=True, slots=True)
class Ambiguous:
    """The message was sent and the answer is lost: the provider may have it, so it must not be sent again blindly."""

    reason: str


Outcome: TypeAlias = Accepted | Retry | Refused | Ambiguous


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """A content item as it is rendered: texts are single lines without controls."""

    content_id: int
    version: int
    title: str
    summary: str
    url: str
    author: str | None
    language: str
    topics: tuple[str, ...]
    published_at: datetime

    def __hash__(self) -> int:
        """By identity of the version alone: caches compare the rest only when that is equal."""
        return hash((self.content_id, self.version))


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """An article in one letter; `link` is its tracked address, None when its own address may not be linked to."""

    article: Article
    link: str | None
    score: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """All that one delivery is rendered from; `address` is the reader's, None for a room.

    `honeypot_url` is for a link that no reader can see: who follows it is a machine.
    """

    run_id: int
    publication_id: int
    channel_id: int
    destination: int
    publication: str
    items: tuple[Item, ...]
    sent_at: datetime
    arm: int = 0
    locale: str = "en"
    address: str | None = field(default=None, repr=False)
    open_url: str | None = field(default=None, repr=False)
    unsubscribe_url: str | None = field(default=None, repr=False)
    honeypot_url: str | None = field(default=None, repr=False)

    @property
    def key(self) -> str:
        """The delivery's key as text: `<run>-<channel>-<destination>`."""
        return f"{self.run_id}-{self.channel_id}-{self.destination}"


class RenderError(Exception):
    """A letter cannot be put into a message of this channel: the delivery fails with this reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Channel(Protocol):
    """One way out. Its module's name is its name; `CHANNEL` is its only instance; rendering is pure."""

    name: str
    limits: Limits

    def parse_config(self, config: Mapping[str, Any]) -> Any:
        """The typed configuration, its secrets out of its repr; raises ConfigError."""
        ...

    async def validate(self, config: Any) -> Validation:
        """What can be said of the configuration without a message to anyone."""
        ...

    def render(self, letter: Letter, config: Any) -> Any:
        """The message of one letter within the limits; pure; raises RenderError."""
        ...

    def size(self, message: Any) -> int:
        """The size of a message in the unit of the limits."""
        ...

    def open(self, settings: Settings) -> AbstractAsyncContextManager[Any]:
        """The connection that deliver uses, for as long as the context lasts."""
        ...

    async def deliver(self, connection: Any, config: Any, message: Any) -> Outcome:
        """Send one message once; never raises for anything that a provider or a network can do."""
        ...


def gathered(lines: Sequence[str], max_chars: int) -> list[str]:
    """Lines joined, in their order, to texts of at most max_chars UTF-16 units; a longer line is a text of its own."""
    texts: list[str] = []
    for line in lines:
        if texts and width(texts[-1]) + 1 + width(line) <= max_chars:
            texts[-1] += "\n" + line
        else:
            texts.append(line)
    return texts


def require_text(config: Mapping[str, Any], name: str, *, max_chars: int = 2_000) -> str:
    """A field that must be a text without controls; raises ConfigError."""
    value = config.get(name)
    if not isinstance(value, str) or not value.strip():
        raise ConfigError(name, "is required")
    if len(value) > max_chars:
        raise ConfigError(name, f"is longer than {max_chars} characters")
    if not value.isprintable():
        raise ConfigError(name, "holds control characters")
    return value.strip()


def refuse_unknown(config: Mapping[str, Any], known: Sequence[str]) -> None:
    """Raise ConfigError for a field that the channel does not know: a misspelt option must not be silent."""
    for name in config:
        if name not in known:
            raise ConfigError(str(name), "is not a field of this channel")
