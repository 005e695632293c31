"""Mail messages: article fragments rendered once, joined per reader, and put into MIME by hand."""

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import format_datetime
from functools import lru_cache

from publishing.domain.truncation import one_line, shorten
from sinks.contract import Article, Item, Letter
from sinks.mail_headers import header_line
from sinks.templating import built_in, mark

# Gmail hides what is beyond about 102 KB of HTML.
MAX_HTML_BYTES = 100_000
MAX_TITLE = 300
MAX_SUMMARY = 500
_ARTICLE = built_in("email_article.html")
_MESSAGE = built_in("email_message.html")
_LINK, _ARTICLES, _OPEN, _UNSUBSCRIBE, _HONEYPOT = map(mark, ("link", "articles", "open", "unsubscribe", "honeypot"))


@dataclass(frozen=True, slots=True)
class Fragment:
    """One article in HTML, whole and without its summary, and in plain text; each with a mark for its link."""

    html: str
    compact_html: str
    text: str


def _escaped(address: str) -> str:
    """An address for an attribute: signed links hold none of these, an installation's own address might."""
    return address.replace("&", "&amp;").replace('"', "&#34;").replace("<", "&lt;").replace(">", "&gt;")


@lru_cache(maxsize=4_096)
def _fragment(article: Article, has_link: bool) -> Fragment:  # noqa: FBT001  - a key of the cache
    title = shorten(one_line(article.title), MAX_TITLE) or "-"
    summary = shorten(one_line(article.summary), MAX_SUMMARY)
    published = article.published_at.strftime("%Y-%m-%d")
    link = _LINK if has_link else ""
    author = shorten(one_line(article.author or ""), 100)
    html, compact = (
        _ARTICLE.render(link=link, title=title, summary=words, author=author, published=published)
        for words in (summary, "")
    )
    lines = [title, *([summary] if summary else []), *([link] if has_link else [])]
    return Fragment(html, compact, "\n".join(lines))


@lru_cache(maxsize=256)
def _frame(
    publication: str,
    locale: str,
    has_open: bool,  # noqa: FBT001  - keys of the cache
    has_unsubscribe: bool,  # noqa: FBT001
    has_honeypot: bool,  # noqa: FBT001
) -> tuple[str, str]:
    """The HTML before and after the articles, with marks for what belongs to one reader."""
    before, _, after = _MESSAGE.render(
        publication=publication,
        locale=locale,
        articles=_ARTICLES,
        has_open=has_open,
        open=_OPEN,
        has_unsubscribe=has_unsubscribe,
        unsubscribe=_UNSUBSCRIBE,
        has_honeypot=has_honeypot,
        honeypot=_HONEYPOT,
    ).partition(_ARTICLES)
    return before, after


def _joined(items: Sequence[Item], fragments: Sequence[str], *, is_html: bool, separator: str) -> str:
    return separator.join(
        fragment.replace(_LINK, _escaped(item.link) if is_html else item.link) if item.link else fragment
        for item, fragment in zip(items, fragments, strict=True)
    )


def html_of(letter: Letter) -> str:
    """The HTML part; summaries are left out where the whole would be clipped."""
    before, after = _frame(
        one_line(letter.publication) or "-",
        letter.locale if letter.locale.replace("-", "").isalnum() else "en",
        letter.open_url is not None,
        letter.unsubscribe_url is not None,
        letter.honeypot_url is not None,
    )
    after = after.replace(_OPEN, _escaped(letter.open_url or ""))
    after = after.replace(_UNSUBSCRIBE, _escaped(letter.unsubscribe_url or ""))
    before = before.replace(_HONEYPOT, _escaped(letter.honeypot_url or ""))
    fragments = [_fragment(item.article, item.link is not None) for item in letter.items]
    articles = _joined(letter.items, [f.html for f in fragments], is_html=True, separator="")
    if len(before) + len(articles.encode()) + len(after) > MAX_HTML_BYTES:
        articles = _joined(letter.items, [f.compact_html for f in fragments], is_html=True, separator="")
    return before + articles + after


def text_of(letter: Letter) -> str:
    """The plain text part, with every link in full."""
    fragments = [_fragment(item.article, item.link is not None).text for item in letter.items]
    articles = _joined(letter.items, fragments, is_html=False, separator="\n\n")
    foot = f"\n\n-- \nUnsubscribe: {letter.unsubscribe_url}\n" if letter.unsubscribe_url else "\n"
    return f"{one_line(letter.publication)}\n\n{articles}{foot}"


def subject_of(letter: Letter) -> str:
    """The first article's title, after the publication's name when there are more."""
    first = one_line(letter.items[0].article.title) if letter.items else ""
    name = one_line(letter.publication)
    subject = first if len(letter.items) == 1 and first else f"{name}: {first}" if first else name
    return shorten(subject, 200) or "-"


def assemble(headers: Mapping[str, str], letter: Letter) -> bytes:
    """The whole message, CRLF lines of at most 76 characters in its parts; raises HeaderError.

    The boundary is derived from the delivery's key: base64 holds no underscore, so no part can contain it.
    """
    boundary = "_tw_" + hashlib.blake2b(letter.key.encode(), digest_size=12).hexdigest()
    lines = [header_line(name, value) for name, value in headers.items()]
    lines.append(header_line("Date", format_datetime(letter.sent_at)))
    lines.append(header_line("MIME-Version", "1.0"))
    lines.append(header_line("Content-Type", f'multipart/alternative; boundary="{boundary}"'))
    for kind, content in (("plain", text_of(letter)), ("html", html_of(letter))):
        encoded = base64.encodebytes(content.encode("utf-8", "replace")).decode("ascii").replace("\n", "\r\n")
        lines.append(
            f"\r\n--{boundary}\r\nContent-Type: text/{kind}; charset=utf-8\r\n"
            f"Content-Transfer-Encoding: base64\r\n\r\n{encoded}"
        )
    lines.append(f"\r\n--{boundary}--\r\n")
    return "".join(lines).encode("ascii")
