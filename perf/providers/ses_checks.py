"""What Amazon SES v2 refuses: pure checks of the requests of SendEmail and SendBulkEmail."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from typing import Any

from perf.providers.exchange import Refusal

# https://docs.aws.amazon.com/ses/latest/dg/quotas.html
MAX_RECIPIENTS = 50
MAX_MESSAGE_BYTES = 40 * 1024 * 1024
# https://docs.aws.amazon.com/ses/latest/APIReference/API_SendRawEmail.html: 1,000 with the CRLF
MAX_LINE_BYTES = 998
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageTag.html
MAX_TAG_CHARS = 256
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_MessageHeader.html
MAX_HEADERS = 15
MAX_HEADER_NAME_CHARS = 126
MAX_HEADER_VALUE_CHARS = 870
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendBulkEmail.html
MAX_BULK_ENTRIES = 50
# https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_ReplacementTemplate.html
MAX_TEMPLATE_DATA_CHARS = 262_144
# https://docs.aws.amazon.com/ses/latest/dg/send-personalized-email-api.html: the input JSON of an inline template
MAX_INLINE_BYTES = 1024 * 1024

_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_TAG = re.compile(r"[A-Za-z0-9_-]+")
_HEADER_NAME = re.compile(r"[!-9;-@A-~]+")
_HEADER_VALUE = re.compile(r"[ -~]*")
_ADDRESS = re.compile(r"[!-;=?A-~]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
_CREDENTIAL = re.compile(r"Credential=[A-Za-z0-9]+/(\d{8})/[a-z0-9-]+/ses/aws4_request")
_SIGNED = re.compile(r"SignedHeaders=([a-z0-9;-]+)")
_SIGNATURE = re.compile(r"Signature=[0-9a-f]{64}")
_AMZ_DATE = re.compile(r"\d{8}T\d{6}Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# The composer sets these itself; a second one would be another message.
_COMPOSED = frozenset({"from", "to", "cc", "bcc", "subject", "date", "message-id", "mime-version", "content-type"})


def _bad(field: str, message: str) -> Refusal:
    return Refusal(error="BadRequestException", field=field, message=message)


def _first(refusals: Iterable[Refusal | None]) -> Refusal | None:
    return next((refusal for refusal in refusals if refusal is not None), None)


def check_authorization(header: str | None, amz_date: str | None) -> Refusal | None:
    """Refuse a request without a well-formed Signature Version 4; the signature's value is not recomputed."""
    if not header:
        return Refusal(status=403, error="MissingAuthenticationTokenException", message="Missing Authentication Token")
    scheme, _, rest = header.partition(" ")
    parts = [part.strip() for part in rest.split(",")]
    if scheme != "AWS4-HMAC-SHA256" or len(parts) != 3:
        return _incomplete("Authorization is not 'AWS4-HMAC-SHA256 Credential=, SignedHeaders=, Signature='")
    credential, signed = _CREDENTIAL.fullmatch(parts[0]), _SIGNED.fullmatch(parts[1])
    if credential is None or signed is None or _SIGNATURE.fullmatch(parts[2]) is None:
        return _incomplete("Authorization names another service, or one of its parts is malformed")
    if amz_date is None or _AMZ_DATE.fullmatch(amz_date) is None or amz_date[:8] != credential[1]:
        return _incomplete("X-Amz-Date is missing or is not of the day of the credential")
    if not {"host", "x-amz-date"} <= set(signed[1].split(";")):
        return _incomplete("host and x-amz-date must be signed")
    return None


def _incomplete(message: str) -> Refusal:
    return Refusal(status=403, error="IncompleteSignatureException", message=message)


def address_of(mailbox: str) -> str:
    """Return the bare address of `a@b` or `Name <a@b>`."""
    if mailbox.endswith(">") and "<" in mailbox:
        return mailbox[mailbox.rindex("<") + 1 : -1]
    return mailbox


def check_mailbox(value: Any, field: str) -> Refusal | None:
    """Refuse what is not one ASCII mailbox."""
    if not isinstance(value, str) or _ADDRESS.fullmatch(address_of(value)) is None:
        return _bad(field, "Missing final '@domain' or illegal address")
    if not value.isascii() or _CONTROL.search(value):
        return _bad(field, "Local address and display name must be printable ASCII (encode the name by RFC 2047)")
    return None


def recipients(destination: Any) -> list[Any]:
    """Return all addresses of a Destination, To first."""
    if not isinstance(destination, dict):
        return []
    return [entry for kind in ("To", "Cc", "Bcc") for entry in destination.get(f"{kind}Addresses") or []]


def check_destination(destination: Any, *, may_be_empty: bool = False) -> Refusal | None:
    """Refuse no recipient, more than 50, or a malformed address."""
    if destination is not None and not isinstance(destination, dict):
        return _bad("Destination", "Destination is a structure")
    found = recipients(destination)
    if not found and not may_be_empty:
        return _bad("Destination", "There is no recipient")
    if len(found) > MAX_RECIPIENTS:
        return _bad("Destination", f"Recipient count exceeds {MAX_RECIPIENTS}.")
    return _first(check_mailbox(entry, "Destination") for entry in found)


def check_tags(tags: Any, field: str) -> Refusal | None:
    """Refuse tags whose name or value is empty, longer than 256, or has other characters than A-Za-z0-9_-."""
    for tag in tags or []:
        for part in ("Name", "Value"):
            text = tag.get(part) if isinstance(tag, dict) else None
            if not isinstance(text, str) or not _TAG.fullmatch(text) or len(text) > MAX_TAG_CHARS:
                return _bad(field, f"{part} of a tag must be 1 to {MAX_TAG_CHARS} of A-Z a-z 0-9 _ -")
    return None


def check_headers(headers: Any, field: str) -> Refusal | None:
    """Refuse more than 15 headers, and names or values that are too long or not printable ASCII."""
    found = headers or []
    if len(found) > MAX_HEADERS:
        return _bad(field, f"There are more than {MAX_HEADERS} headers")
    for header in found:
        name, value = (header.get("Name"), header.get("Value")) if isinstance(header, dict) else (None, None)
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name) or len(name) > MAX_HEADER_NAME_CHARS:
            return _bad(field, f"A header's name must be 1 to {MAX_HEADER_NAME_CHARS} printable ASCII without colon")
        if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
            return _bad(field, "A header's value must be printable ASCII")
        if not 1 <= len(value) <= MAX_HEADER_VALUE_CHARS:
            return _bad(field, f"A header's value must have 1 to {MAX_HEADER_VALUE_CHARS} characters")
        if name.lower() in _COMPOSED:
            return _bad(field, f"{name} cannot be a custom header")
    return None


def _check_sender(payload: dict[str, Any], *, is_raw: bool) -> Refusal | None:
    sender = payload.get("FromEmailAddress")
    if sender is None:
        return None if is_raw else _bad("FromEmailAddress", "The sender is missing")
    return check_mailbox(sender, "FromEmailAddress")


def check_email(payload: Any) -> Refusal | None:
    """Refuse what SendEmail refuses; raw content is checked by `check_raw`, once it is decoded."""
    if not isinstance(payload, dict) or not isinstance(payload.get("Content"), dict):
        return _bad("Content", "Content is missing")
    content = payload["Content"]
    kinds = [kind for kind in ("Raw", "Simple", "Template") if isinstance(content.get(kind), dict)]
    if kinds not in (["Raw"], ["Simple"]):
        return _bad("Content", "Content must have exactly one of Raw and Simple (stored templates are not simulated)")
    is_raw = kinds == ["Raw"]
    checks: tuple[Callable[[], Refusal | None], ...] = (
        lambda: _check_sender(payload, is_raw=is_raw),
        lambda: check_destination(payload.get("Destination"), may_be_empty=is_raw),
        lambda: check_tags(payload.get("EmailTags"), "EmailTags"),
        lambda: None if is_raw else _check_simple(content["Simple"]),
    )
    return _first(check() for check in checks)


def _check_simple(simple: dict[str, Any]) -> Refusal | None:
    subject, body = simple.get("Subject"), simple.get("Body")
    if not isinstance(subject, dict) or not isinstance(subject.get("Data"), str):
        return _bad("Content.Simple.Subject", "Subject is missing")
    if _CONTROL.search(subject["Data"]):
        return _bad("Content.Simple.Subject", "Control characters are not allowed in a subject")
    parts = [body[kind] for kind in ("Text", "Html") if body.get(kind)] if isinstance(body, dict) else []
    texts = [part.get("Data") if isinstance(part, dict) else None for part in parts]
    if not texts or not all(isinstance(text, str) for text in texts):
        return _bad("Content.Simple.Body", "Body needs Text or Html")
    if sum(len(str(text).encode()) for text in texts) > MAX_MESSAGE_BYTES:
        return _bad("Content.Simple.Body", "Message length is more than 40 MB")
    return check_headers(simple.get("Headers"), "Content.Simple.Headers")


def decode_raw(payload: dict[str, Any]) -> bytes | Refusal:
    """Return the decoded bytes of Content.Raw.Data, or why they are refused."""
    text = payload["Content"]["Raw"].get("Data")
    try:
        # Checked by a pattern first: the strict mode of the decoder takes ten times as long.
        if isinstance(text, str) and _BASE64.fullmatch(text):
            return base64.b64decode(text)
    except binascii.Error:
        pass  # wrong padding
    return _bad("Content.Raw.Data", "Data is not base64")


def check_raw(raw: bytes) -> Refusal | None:
    """Refuse an empty message, one over 40 MB, one without a header block, and lines over 998 bytes."""
    if len(raw) > MAX_MESSAGE_BYTES:
        return _bad("Content.Raw.Data", "Message length is more than 40 MB")
    if b"\r\n\r\n" not in raw and b"\n\n" not in raw:
        return Refusal(error="MessageRejected", field="Content.Raw.Data", message="The message has no header block")
    if any(len(line) > MAX_LINE_BYTES and len(line.rstrip(b"\r")) > MAX_LINE_BYTES for line in raw.split(b"\n")):
        return _bad("Content.Raw.Data", "A line is longer than 998 bytes")
    return None


def check_bulk(payload: Any, body_bytes: int) -> Refusal | None:
    """Refuse what SendBulkEmail refuses as a whole; `body_bytes` is the size of the call's JSON."""
    if not isinstance(payload, dict) or not isinstance(payload.get("BulkEmailEntries"), list):
        return _bad("BulkEmailEntries", "BulkEmailEntries is missing")
    template = (payload.get("DefaultContent") or {}).get("Template")
    if not isinstance(template, dict) or not isinstance(template.get("TemplateContent"), dict):
        return _bad("DefaultContent", "An inline template is missing (stored templates are not simulated)")
    if body_bytes > MAX_INLINE_BYTES:
        return _bad("DefaultContent", "The input of an inline template is more than 1 MB")
    if not 1 <= len(payload["BulkEmailEntries"]) <= MAX_BULK_ENTRIES:
        return _bad("BulkEmailEntries", f"There must be 1 to {MAX_BULK_ENTRIES} entries")
    checks: tuple[Callable[[], Refusal | None], ...] = (
        lambda: _check_sender(payload, is_raw=False),
        lambda: check_template(template["TemplateContent"]),
        lambda: check_template_data(template.get("TemplateData"), "TemplateData"),
        lambda: check_headers(template.get("Headers"), "Template.Headers"),
        lambda: check_tags(payload.get("DefaultEmailTags"), "DefaultEmailTags"),
    )
    return _first(check() for check in checks)


def check_template(content: dict[str, Any]) -> Refusal | None:
    """Refuse an inline template without subject or body, and any tag that is not a simple substitution."""
    texts = {part: content.get(part) for part in ("Subject", "Text", "Html") if content.get(part) is not None}
    if not all(isinstance(text, str) for text in texts.values()):
        return _bad("TemplateContent", "The parts of a template are strings")
    if not texts.get("Subject") or not (texts.get("Text") or texts.get("Html")):
        return _bad("TemplateContent", "A template needs a Subject and Text or Html")
    for part, text in texts.items():
        if re.search(r"\{\{\s*[#/^>!&]", str(text)):
            return _bad(f"TemplateContent.{part}", "An inline template takes simple substitutions only")
    return None


def check_template_data(text: Any, field: str) -> Refusal | None:
    """Refuse template data that is longer than 262,144 characters."""
    if text is not None and (not isinstance(text, str) or len(text) > MAX_TEMPLATE_DATA_CHARS):
        return _bad(field, f"Template data is a string of at most {MAX_TEMPLATE_DATA_CHARS} characters")
    return None


def check_entry(entry: Any) -> Refusal | None:
    """Refuse one bulk entry: its destination, replacement data, tags and headers."""
    if not isinstance(entry, dict):
        return _bad("BulkEmailEntries", "An entry is a structure")
    replacement = ((entry.get("ReplacementEmailContent") or {}).get("ReplacementTemplate")) or {}
    checks: tuple[Callable[[], Refusal | None], ...] = (
        lambda: check_destination(entry.get("Destination")),
        lambda: check_template_data(replacement.get("ReplacementTemplateData"), "ReplacementTemplateData"),
        lambda: check_tags(entry.get("ReplacementTags"), "ReplacementTags"),
        lambda: check_headers(entry.get("ReplacementHeaders"), "ReplacementHeaders"),
    )
    return _first(check() for check in checks)


def check_subject(subject: str) -> Refusal | None:
    """Refuse control characters in a substituted subject."""
    return _bad("Subject", "Control characters are not allowed in a subject") if _CONTROL.search(subject) else None
