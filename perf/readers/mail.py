"""What a reader's mail program finds in a mail: the tracking pixel, visible article links, one-click unsubscribe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from html.parser import HTMLParser
from urllib.parse import urlsplit

PIXEL_PREFIX = "/o/"
LINK_PREFIX = "/c/"
ONE_CLICK = "List-Unsubscribe=One-Click"

# https://html.spec.whatwg.org/multipage/syntax.html#void-elements: these never get an end tag
_VOID = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|(?:font-size|max-height|opacity)\s*:\s*0(?![.\d])")
_HTTPS = re.compile(r"<(https?://[^>]+)>")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadMail:
    """The tracked addresses of one mail, distinct and in order; `hidden` are the ones that a person cannot see."""

    pixel: str | None = None
    links: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    unsubscribe: str | None = None


class _Finder(HTMLParser):
    """Collects the pixel and the links; a hidden link is a trap for machines."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pixel: str | None = None
        self.links: dict[str, None] = {}
        self.hidden: dict[str, None] = {}
        self._open: list[tuple[str, bool]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Look at one element and remember whether it hides what is inside."""
        named = {name: value or "" for name, value in attrs}
        is_hidden = _is_hidden(named) or bool(self._open and self._open[-1][1])
        if tag == "img" and self.pixel is None and _has_path(named.get("src", ""), PIXEL_PREFIX):
            self.pixel = named["src"]
        if tag == "a" and _has_path(named.get("href", ""), LINK_PREFIX):
            (self.hidden if is_hidden else self.links).setdefault(named["href"])
        if tag not in _VOID:
            self._open.append((tag, is_hidden))

    def handle_endtag(self, tag: str) -> None:
        """Leave the innermost element of this name; a stray end tag means nothing."""
        for depth in range(len(self._open) - 1, -1, -1):
            if self._open[depth][0] == tag:
                del self._open[depth:]
                return


def _is_hidden(attributes: dict[str, str]) -> bool:
    if "hidden" in attributes or attributes.get("aria-hidden") == "true":
        return True
    return _HIDDEN.search(attributes.get("style", "").lower()) is not None


def _has_path(url: str, prefix: str) -> bool:
    return url.startswith(("http://", "https://")) and urlsplit(url).path.startswith(prefix)


def read_mail(raw: bytes) -> ReadMail:
    """Return what the mail's HTML part and headers offer to a reader; a mail without HTML offers no pixel or link."""
    message = message_from_bytes(raw, policy=default)
    assert isinstance(message, EmailMessage)
    part = message.get_body(("html",))
    finder = _Finder()
    if part is not None:
        finder.feed(str(part.get_content()))
        finder.close()
    return ReadMail(
        pixel=finder.pixel,
        links=tuple(finder.links),
        hidden=tuple(finder.hidden),
        unsubscribe=_one_click(message),
    )


def _one_click(message: EmailMessage) -> str | None:
    """Return the https address of a one-click unsubscribe (RFC 8058), which both headers must offer."""
    if str(message.get("List-Unsubscribe-Post", "")).strip() != ONE_CLICK:
        return None
    found = _HTTPS.search("".join(str(message.get("List-Unsubscribe", "")).split()))
    return found[1] if found else None
