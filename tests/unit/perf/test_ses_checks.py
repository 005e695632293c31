"""What the SES simulator refuses, at and beyond each limit."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from perf.providers.ses_checks import (
    MAX_INLINE_BYTES,
    MAX_MESSAGE_BYTES,
    address_of,
    check_authorization,
    check_bulk,
    check_email,
    check_entry,
    check_raw,
    check_subject,
    decode_raw,
)

pytestmark = pytest.mark.unit

SIGNED = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/eu-west-1/ses/aws4_request, "
    "SignedHeaders=content-type;host;x-amz-date, Signature=" + "0a" * 32
)


def email(**changes: Any) -> dict[str, Any]:
    """A SendEmail request with changes."""
    return {
        "FromEmailAddress": "News <news@example.org>",
        "Destination": {"ToAddresses": ["reader@example.org"]},
        "Content": {"Simple": {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "hi"}}}},
        **changes,
    }


def simple(**changes: Any) -> dict[str, Any]:
    """A SendEmail request with changes of its simple content."""
    content = {"Subject": {"Data": "Hello"}, "Body": {"Text": {"Data": "hi"}}}
    return email(Content={"Simple": {**content, **changes}})


def bulk(**changes: Any) -> dict[str, Any]:
    """A SendBulkEmail request with changes."""
    return {
        "FromEmailAddress": "news@example.org",
        "DefaultContent": {"Template": {"TemplateContent": {"Subject": "Hi {{name}}", "Html": "<p>{{name}}</p>"}}},
        "BulkEmailEntries": [entry()],
        **changes,
    }


def template(**content: Any) -> dict[str, Any]:
    """A SendBulkEmail request with this inline template."""
    return bulk(DefaultContent={"Template": {"TemplateContent": content}})


def entry(**changes: Any) -> dict[str, Any]:
    """A bulk entry with changes."""
    return {"Destination": {"ToAddresses": ["reader@example.org"]}, **changes}


def headers(count: int = 1, *, name: str = "X-Tag", value: str = "v") -> list[dict[str, str]]:
    """So many custom headers."""
    return [{"Name": name, "Value": value}] * count


def to(count: int) -> dict[str, Any]:
    """A destination of so many recipients."""
    return {"ToAddresses": [f"r{number}@example.org" for number in range(count)]}


@pytest.mark.parametrize(
    "payload",
    [
        email(),
        email(Destination=to(50)),
        email(Destination={"ToAddresses": ["a@b.example"], "BccAddresses": ["Ann <c@d.example>"]}),
        email(EmailTags=[{"Name": "n" * 256, "Value": "1-2_3"}]),
        email(Content={"Raw": {"Data": ""}}, FromEmailAddress=None, Destination=None),
        simple(Headers=headers(15)),
        simple(Headers=headers(name="n" * 126, value="v" * 870)),
        simple(Body={"Html": {"Data": "<p>"}}),
    ],
)
def test_send_email_takes_what_is_within_the_limits(payload: dict[str, Any]) -> None:
    """A request right at each limit is not refused."""
    assert check_email(payload) is None


@pytest.mark.parametrize(
    ("payload", "field"),
    [
        ([], "Content"),
        (email(Content={}), "Content"),
        (email(Content={"Template": {"TemplateName": "t"}}), "Content"),
        (email(Content={"Raw": {"Data": ""}, "Simple": {}}), "Content"),
        (email(FromEmailAddress=None), "FromEmailAddress"),
        (email(FromEmailAddress="news"), "FromEmailAddress"),
        (email(FromEmailAddress="Zoë <news@example.org>"), "FromEmailAddress"),
        (email(FromEmailAddress="A\r\nBcc: x <news@example.org>"), "FromEmailAddress"),
        (email(Destination={}), "Destination"),
        (email(Destination=[]), "Destination"),
        (email(Destination=to(51)), "Destination"),
        (email(Destination={"ToAddresses": ["reader"]}), "Destination"),
        (email(Destination={"ToAddresses": ["a b@example.org"]}), "Destination"),
        (email(Destination={"CcAddresses": ["réader@example.org"]}), "Destination"),
        (email(EmailTags=[{"Name": "n" * 257, "Value": "v"}]), "EmailTags"),
        (email(EmailTags=[{"Name": "n", "Value": "a b"}]), "EmailTags"),
        (email(EmailTags=[{"Name": "n", "Value": ""}]), "EmailTags"),
        (email(EmailTags=["n"]), "EmailTags"),
        (simple(Subject=None), "Content.Simple.Subject"),
        (simple(Subject={"Data": "a\r\nBcc: b@example.org"}), "Content.Simple.Subject"),
        (simple(Body={}), "Content.Simple.Body"),
        (simple(Body={"Text": {"Data": 1}}), "Content.Simple.Body"),
        (simple(Body={"Text": {"Data": "x" * (MAX_MESSAGE_BYTES + 1)}}), "Content.Simple.Body"),
        (simple(Headers=headers(16)), "Content.Simple.Headers"),
        (simple(Headers=headers(name="n" * 127)), "Content.Simple.Headers"),
        (simple(Headers=headers(name="a:b")), "Content.Simple.Headers"),
        (simple(Headers=headers(value="v" * 871)), "Content.Simple.Headers"),
        (simple(Headers=headers(value="é")), "Content.Simple.Headers"),
        (simple(Headers=headers(value="a\r\nb")), "Content.Simple.Headers"),
        (simple(Headers=headers(name="Subject")), "Content.Simple.Headers"),
    ],
)
def test_send_email_refuses_what_breaks_a_limit(payload: Any, field: str) -> None:
    """One step beyond a limit is a BadRequestException that names the field."""
    refusal = check_email(payload)
    assert refusal is not None
    assert (refusal.error, refusal.status, refusal.field) == ("BadRequestException", 400, field)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"Subject: x\r\n\r\nhi", None),
        (b"Subject: x\n\n" + b"y" * 998, None),
        (b"Subject: x\r\n\r\n" + b"y" * 999, "BadRequestException"),
        (b"no header block", "MessageRejected"),
        (b"", "MessageRejected"),
        (b"a: b\r\n\r\n" + b"y" * MAX_MESSAGE_BYTES, "BadRequestException"),
    ],
)
def test_raw_messages_are_bounded(raw: bytes, error: str | None) -> None:
    """A raw message has headers, lines of at most 998 bytes, and at most 40 MB."""
    refusal = check_raw(raw)
    assert (refusal.error if refusal else None) == error


def test_raw_data_is_base64() -> None:
    """Data that is not base64 is refused, other data is decoded."""
    for data in ("%%", "QUJD\n", "QQ", "Q=Q="):
        assert not isinstance(decode_raw({"Content": {"Raw": {"Data": data}}}), bytes)
    assert decode_raw({"Content": {"Raw": {"Data": base64.b64encode(b"x").decode()}}}) == b"x"


@pytest.mark.parametrize(
    ("payload", "size", "field"),
    [
        (bulk(), 10, None),
        (bulk(BulkEmailEntries=[entry()] * 50), MAX_INLINE_BYTES, None),
        (bulk(BulkEmailEntries=[entry()] * 51), 10, "BulkEmailEntries"),
        (bulk(BulkEmailEntries=[]), 10, "BulkEmailEntries"),
        (bulk(BulkEmailEntries=None), 10, "BulkEmailEntries"),
        (bulk(), MAX_INLINE_BYTES + 1, "DefaultContent"),
        (bulk(DefaultContent={}), 10, "DefaultContent"),
        (bulk(DefaultContent={"Template": {"TemplateName": "stored"}}), 10, "DefaultContent"),
        (bulk(FromEmailAddress=None), 10, "FromEmailAddress"),
        (bulk(DefaultEmailTags=[{"Name": "é", "Value": "v"}]), 10, "DefaultEmailTags"),
        (template(Subject="s"), 10, "TemplateContent"),
        (template(Html="<p>"), 10, "TemplateContent"),
        (template(Subject=1, Html="<p>"), 10, "TemplateContent"),
        (template(Subject="s", Html="{{#each a}}x{{/each}}"), 10, "TemplateContent.Html"),
        (template(Subject="{{> part}}", Text="t"), 10, "TemplateContent.Subject"),
    ],
)
def test_bulk_calls_are_checked_whole(payload: dict[str, Any], size: int, field: str | None) -> None:
    """A bulk call has 1 to 50 entries, an inline template of simple substitutions, and at most 1 MB of input."""
    refusal = check_bulk(payload, size)
    assert (refusal.field if refusal else None) == field


@pytest.mark.parametrize(
    ("given", "field"),
    [
        (entry(), None),
        (entry(ReplacementHeaders=headers(15)), None),
        (entry(ReplacementHeaders=headers(16)), "ReplacementHeaders"),
        (entry(ReplacementHeaders=headers(value="v" * 871)), "ReplacementHeaders"),
        (entry(ReplacementTags=[{"Name": "a", "Value": "b c"}]), "ReplacementTags"),
        (entry(Destination={}), "Destination"),
        (entry(Destination=to(51)), "Destination"),
        (
            entry(ReplacementEmailContent={"ReplacementTemplate": {"ReplacementTemplateData": "x" * 262_145}}),
            "ReplacementTemplateData",
        ),
        ("entry", "BulkEmailEntries"),
    ],
)
def test_bulk_entries_are_checked_one_by_one(given: Any, field: str | None) -> None:
    """An entry's destination, data, tags and headers have the limits of the API."""
    refusal = check_entry(given)
    assert (refusal.field if refusal else None) == field


@pytest.mark.parametrize(
    ("header", "amz_date", "error"),
    [
        (SIGNED, "20260101T000000Z", None),
        (None, "20260101T000000Z", "MissingAuthenticationTokenException"),
        ("Bearer x", "20260101T000000Z", "IncompleteSignatureException"),
        (SIGNED, "20260102T000000Z", "IncompleteSignatureException"),
        (SIGNED, None, "IncompleteSignatureException"),
        (SIGNED.replace("/ses/", "/s3/"), "20260101T000000Z", "IncompleteSignatureException"),
        (SIGNED.replace("host;", ""), "20260101T000000Z", "IncompleteSignatureException"),
        (SIGNED[:-1], "20260101T000000Z", "IncompleteSignatureException"),
    ],
)
def test_a_signature_must_be_well_formed(header: str | None, amz_date: str | None, error: str | None) -> None:
    """Signature Version 4 is present, for SES, of the date that is signed, over host and date."""
    refusal = check_authorization(header, amz_date)
    assert (refusal.error if refusal else None) == error


def test_subjects_take_no_control_characters() -> None:
    """A line break in a substituted subject would be another header."""
    assert check_subject("fine") is None
    assert check_subject("a\nBcc: b@example.org") is not None


def test_an_address_is_found_in_a_mailbox() -> None:
    """A display name is no part of the address."""
    assert address_of("Ann <ann@example.org>") == "ann@example.org"
    assert address_of("ann@example.org") == "ann@example.org"
