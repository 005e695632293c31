"""Mails as SES composes them: header facts of raw messages, substitution, and MIME of simple and bulk content."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP
from typing import Any

from perf.providers.exchange import parse_json
from perf.providers.ses_checks import recipients

# RFC 5322 allows 998: folding at 78 would re-encode a long URL of List-Unsubscribe.
_POLICY = SMTP.clone(max_line_length=998)
_PLACEHOLDER = re.compile(r"\{\{\{?\s*([A-Za-z0-9_.-]+)\s*\}?\}\}")


class MissingVariableError(Exception):
    """A template names a variable that its data lacks; SES would accept the mail and then fail to render it."""

    def __init__(self, name: str) -> None:
        super().__init__(f"Attribute '{name}' is not present in the rendering data.")
        self.name = name


def header_facts(raw: bytes) -> dict[str, str]:
    """Return the unfolded, decoded headers of a raw message by lower-case name, the first of each."""
    block = re.split(rb"\r?\n\r?\n", raw, maxsplit=1)[0]
    unfolded = re.sub(rb"\r?\n(?=[ \t])", b"", block)
    facts: dict[str, str] = {}
    for line in unfolded.splitlines():
        name, _, value = line.partition(b":")
        facts.setdefault(name.strip().lower().decode("latin-1"), _decoded(value.strip().decode("utf-8", "replace")))
    return facts


def _decoded(value: str) -> str:
    if "=?" not in value:
        return value
    try:
        return str(make_header(decode_header(value)))
    except (HeaderParseError, LookupError, UnicodeDecodeError):
        return value


def header_tags(value: str) -> dict[str, str]:
    """Return the tags of an X-SES-MESSAGE-TAGS header, `name=value, name=value`."""
    pairs = (part.partition("=") for part in value.split(",") if "=" in part)
    return {name.strip(): text.strip() for name, _, text in pairs}


def placeholders(content: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of all variables that a template's parts ask for."""
    return frozenset(
        name for part in ("Subject", "Text", "Html") for name in _PLACEHOLDER.findall(content.get(part) or "")
    )


def require_variables(names: frozenset[str], variables: Mapping[str, Any]) -> None:
    """Raise MissingVariableError for the first of `names` that has no value."""
    for name in sorted(names - set(variables)):
        raise MissingVariableError(name)


def substitute(text: str, variables: Mapping[str, Any]) -> str:
    """Return the text with each `{{name}}` replaced, unescaped as SES does; raises MissingVariableError.

    Worked example: `substitute("Hi {{name}}", {"name": "Ann"})` is `Hi Ann`.
    """

    def value_of(match: re.Match[str]) -> str:
        name = match[1]
        if name not in variables:
            raise MissingVariableError(name)
        return str(variables[name])

    return _PLACEHOLDER.sub(value_of, text)


def entry_variables(payload: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return the variables of one bulk entry: the default data under its replacement data; raises ValueError."""
    default = payload["DefaultContent"]["Template"].get("TemplateData")
    replacement = ((entry.get("ReplacementEmailContent") or {}).get("ReplacementTemplate")) or {}
    merged: dict[str, Any] = {}
    for text in (default, replacement.get("ReplacementTemplateData")):
        merged.update(_parse_variables(text) if text else {})
    return merged


def _parse_variables(text: str) -> dict[str, Any]:
    variables = parse_json(text.encode())
    if isinstance(variables, dict):
        return variables
    raise ValueError("template data is not an object")


def render(payload: Mapping[str, Any], entry_index: int, message_id: str) -> bytes:
    """Return the MIME bytes of one accepted message: raw as it was sent, otherwise composed."""
    if "BulkEmailEntries" in payload:
        return _render_bulk(payload, entry_index, message_id)
    content = payload["Content"]
    if content.get("Raw"):
        return base64.b64decode(content["Raw"]["Data"])
    simple = content["Simple"]
    parts = {kind: (simple["Body"].get(kind) or {}).get("Data") for kind in ("Text", "Html")}
    message = _compose(payload, payload.get("Destination") or {}, simple["Subject"]["Data"], parts)
    return _finish(message, simple.get("Headers") or [], message_id)


def _render_bulk(payload: Mapping[str, Any], entry_index: int, message_id: str) -> bytes:
    entry = payload["BulkEmailEntries"][entry_index]
    template = payload["DefaultContent"]["Template"]
    variables = entry_variables(payload, entry)
    texts = {
        part: substitute(text, variables)
        for part, text in template["TemplateContent"].items()
        if part in ("Subject", "Text", "Html") and text
    }
    message = _compose(payload, entry["Destination"], texts["Subject"], texts)
    replaced = {header["Name"].lower() for header in entry.get("ReplacementHeaders") or []}
    kept = [header for header in template.get("Headers") or [] if header["Name"].lower() not in replaced]
    return _finish(message, [*kept, *(entry.get("ReplacementHeaders") or [])], message_id)


def _compose(
    payload: Mapping[str, Any], destination: Mapping[str, Any], subject: str, parts: Mapping[str, str | None]
) -> EmailMessage:
    message = EmailMessage(policy=_POLICY)
    message["From"] = payload["FromEmailAddress"]
    to = destination.get("ToAddresses") or recipients(destination)[:1]
    message["To"] = ", ".join(to)
    if destination.get("CcAddresses"):
        message["Cc"] = ", ".join(destination["CcAddresses"])
    if payload.get("ReplyToAddresses"):
        message["Reply-To"] = ", ".join(payload["ReplyToAddresses"])
    message["Subject"] = subject
    text, html = parts.get("Text"), parts.get("Html")
    if text:
        message.set_content(text)
        if html:
            message.add_alternative(html, subtype="html")
    else:
        message.set_content(html or "", subtype="html")
    return message


def _finish(message: EmailMessage, headers: list[dict[str, str]], message_id: str) -> bytes:
    message["Message-ID"] = f"<{message_id}@email.amazonses.com>"
    for header in headers:
        message[header["Name"]] = header["Value"]
    return message.as_bytes()
