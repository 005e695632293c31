"""Mails parse back to what was meant, whatever their texts say."""

import email
import email.policy
from datetime import UTC, datetime
from email.message import EmailMessage as ParsedMessage

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sinks.channels.email import CHANNEL, EmailConfig
from sinks.contract import Article, Item, Letter, RenderError
from sinks.mail_headers import MAX_LINE, HeaderError, encode_text, header_line, mailbox

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CONFIG = CHANNEL.parse_config({"sender": "News <news@example.org>", "configuration_set": None})
KNOWN = {
    "from", "to", "subject", "message-id", "list-id", "feedback-id", "auto-submitted", "x-tidewire-delivery",
    "list-unsubscribe", "list-unsubscribe-post", "date", "mime-version", "content-type",
}  # fmt: skip

INJECTIONS = [
    "a\r\nBcc: victim@example.org",
    "a\nBcc: victim@example.org",
    "a\r\n\r\n<b>body</b>",
    "a\rBcc: x@y.z",
    "a\x0bBcc: x@y.z",
    "a\x00b",
    "a\u2028Bcc: x@y.z",
    "a\x85Bcc: x@y.z",
    "=?utf-8?q?a=0d=0aBcc:=20victim@example.org?=",
    "=?utf-8?b?YQ0KQmNjOiB4QHkueg==?=",
    "=?utf-8?q?a?= =?utf-8?q?=0aBcc:=20x@y.z?=",
    "=?us-ascii?q?=0d=0a?=",
    "=?nonsense?q?=0d=0a?=",
    "=?utf-8?q?",
    '"><script>alert(1)</script>',
    "--_tw_boundary",
    "\u202etxet",
    "\x00link\x00",
    "\x00articles\x00",
]


def article_of(title: str = "Title", summary: str = "Summary", content_id: int = 7) -> Article:
    """An article."""
    return Article(
        content_id=content_id,
        version=1,
        title=title,
        summary=summary,
        url="https://example.org/a",
        author=summary,
        language="en",
        topics=(),
        published_at=NOW,
    )


def letter_of(*articles: Article, publication: str = "Weekly", address: str = "reader@example.org") -> Letter:
    """A letter to one reader."""
    return Letter(
        run_id=77,
        publication_id=12,
        channel_id=3,
        destination=41,
        publication=publication,
        items=tuple(Item(article=a, link=f"https://t.example.org/c/part{a.content_id}/reader") for a in articles),
        sent_at=NOW,
        address=address,
        open_url="https://t.example.org/o/tok.gif",
        unsubscribe_url="https://t.example.org/u/tok",
    )


def parsed_of(letter: Letter, config: EmailConfig = CONFIG) -> tuple[bytes, ParsedMessage]:
    """The raw message and what a parser makes of it."""
    raw = CHANNEL.render(letter, config).raw
    message = email.message_from_bytes(raw, policy=email.policy.default)
    assert isinstance(message, ParsedMessage)
    return raw, message


def check_shape(raw: bytes, message: ParsedMessage) -> None:
    """Exactly our headers, exactly our parts, no bare line end, no long line."""
    assert {name.lower() for name in message} == KNOWN
    assert len(message) == len(KNOWN)
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/alternative", "text/plain", "text/html",
    ]  # fmt: skip
    assert not message.defects
    assert all(len(line) <= MAX_LINE for line in raw.split(b"\r\n"))
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert b"\r" not in raw.replace(b"\r\n", b"")


def part_of(message: ParsedMessage, kind: str) -> str:
    """The text of one part."""
    part = message.get_body((kind,))
    assert isinstance(part, ParsedMessage)
    content: str = part.get_content()
    return content


def test_headers_of_bulk_mail() -> None:
    """One-click unsubscribe, list, feedback and delivery headers are as the standards and providers want them."""
    raw, message = parsed_of(letter_of(article_of(), article_of("Second", content_id=9)))
    check_shape(raw, message)
    assert message["List-Unsubscribe"] == "<https://t.example.org/u/tok>"
    assert message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert message["List-Id"].endswith("<publication-12.example.org>")
    assert message["Feedback-ID"] == "12:77:3:tidewire"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"] == "<dlv.77-3-41@example.org>"
    assert message["X-Tidewire-Delivery"] == "77-3-41"
    assert message["Subject"] == "Weekly: Title"
    html = part_of(message, "html")
    assert '<img src="https://t.example.org/o/tok.gif"' in html
    assert 'href="https://t.example.org/c/part7/reader"' in html
    assert 'href="https://t.example.org/u/tok"' in html
    assert "https://t.example.org/c/part9/reader" in part_of(message, "plain")


@pytest.mark.parametrize("text", INJECTIONS)
def test_texts_inject_nothing(text: str) -> None:
    """No title, summary, author or name of a publication adds a header, a part or an element."""
    raw, message = parsed_of(letter_of(article_of(text, text), publication=text))
    check_shape(raw, message)
    assert "Bcc" not in message
    html = part_of(message, "html")
    assert "<script" not in html
    assert "\x00" not in html
    assert html.count("<a ") == 2


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=400), st.text(max_size=400))
def test_any_text_keeps_the_shape(title: str, publication: str) -> None:
    """Whatever Unicode a text holds, the message has our headers and parts alone."""
    check_shape(*parsed_of(letter_of(article_of(title, title), publication=publication)))


@pytest.mark.parametrize(
    "text", ["Gr\u00fc\u00dfe aus K\u00f6ln", "\u65e5\u672c\u8a9e" * 40, "\U0001f600" * 60, "plain " * 30, "=?x"]
)
def test_subjects_read_back(text: str) -> None:
    """An encoded subject reads back as it was, cut to its limit."""
    _, message = parsed_of(letter_of(article_of(text)))
    assert str(message["Subject"]).rstrip("\u2026").strip() in text


@pytest.mark.parametrize("value", [text for text in INJECTIONS if any(c < " " or c > "~" for c in text)])
def test_headers_refuse_controls(value: str) -> None:
    """A header's value that could end its line, or is not ASCII, is refused."""
    with pytest.raises(HeaderError):
        header_line("Subject", value)


@pytest.mark.parametrize("value", ["=?utf-8?q?a=0d=0aBcc:=20x?=", "=?utf-8?b?YQ0KQmNjOiB4QHkueg==?="])
def test_headers_refuse_what_decodes_to_controls(value: str) -> None:
    """A value that a reader decodes to a line end is refused, and encoded as text it is harmless."""
    with pytest.raises(HeaderError):
        header_line("Subject", value)
    line = header_line("Subject", encode_text("Subject", value))
    assert line.count("\r\n") == len(line.splitlines())


@pytest.mark.parametrize(("name", "value"), [("Bad Name", "x"), ("", "x"), ("X:", "x"), ("X", "y" * 999)])
def test_headers_refuse_bad_names_and_long_lines(name: str, value: str) -> None:
    """A name that is none and a line that cannot be folded are refused."""
    with pytest.raises(HeaderError):
        header_line(name, value)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "x",
        "a@b\r\nBcc: c@d",
        "a b@example.org",
        "a@example.org, c@d.org",
        "<a@b.org>",
        "a@-x",
        "\u00e9@example.org",
        "a@" + "b" * 300,
    ],
)
def test_addresses_that_are_none_fail(address: str) -> None:
    """An address that could be another header, several addresses, or none is not written to."""
    with pytest.raises(RenderError):
        CHANNEL.render(letter_of(article_of(), address=address), CONFIG)


def test_international_domains_are_sent_in_ascii() -> None:
    """A domain outside of ASCII is written as its A-labels."""
    assert (
        CHANNEL.render(letter_of(article_of(), address="a@b\u00fccher.example"), CONFIG).address
        == "a@xn--bcher-kva.example"
    )


@pytest.mark.parametrize(
    ("display", "expected"), [("", "a@b"), ('N "x"', '"N \\"x\\"" <a@b>'), ("\u00e9", "=?utf-8?b?w6k=?= <a@b>")]
)
def test_mailboxes(display: str, expected: str) -> None:
    """A display name is quoted or encoded."""
    assert mailbox("From", display, "a@b") == expected


def test_a_clipped_mail_loses_summaries_first() -> None:
    """Where the HTML would be clipped, all titles and links stay and the summaries go."""
    articles = [article_of(f"Title{n}", "s" * 500, content_id=n) for n in range(1, 51)]
    items = tuple(Item(article=a, link=f"https://t.example.org/c/{'x' * 1_200}{a.content_id}/r") for a in articles)
    letter = letter_of()
    long = Letter(
        run_id=1, publication_id=1, channel_id=1, destination=1, publication="W", items=items, sent_at=NOW,
        address="reader@example.org", open_url=letter.open_url, unsubscribe_url=letter.unsubscribe_url,
    )  # fmt: skip
    html = part_of(parsed_of(long)[1], "html")
    assert all(f"Title{n}<" in html for n in range(1, 51))
    assert "s" * 500 not in html
    assert len(html.encode()) <= 102_400
