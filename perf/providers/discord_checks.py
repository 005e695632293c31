"""What a Discord webhook refuses: a pure check of the body of Execute Webhook."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perf.providers.exchange import Refusal

# https://discord.com/developers/docs/resources/webhook#execute-webhook
MAX_CONTENT_CHARS = 2_000
MAX_EMBEDS = 10
MAX_USERNAME_CHARS = 80
# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
MAX_TITLE_CHARS = 256
MAX_DESCRIPTION_CHARS = 4_096
MAX_FIELDS = 25
MAX_FIELD_NAME_CHARS = 256
MAX_FIELD_VALUE_CHARS = 1_024
MAX_FOOTER_CHARS = 2_048
MAX_AUTHOR_CHARS = 256
MAX_ALL_EMBEDS_CHARS = 6_000
MAX_COLOR = 0xFFFFFF
# https://discord.com/developers/docs/resources/message#allowed-mentions-object
MENTION_TYPES = frozenset({"roles", "users", "everyone"})
MAX_MENTION_IDS = 100

TOO_LONG, REQUIRED, CHOICES, TYPE, URL = (
    "BASE_TYPE_MAX_LENGTH",
    "BASE_TYPE_REQUIRED",
    "BASE_TYPE_CHOICES",
    "BASE_TYPE_BAD_TYPE",
    "URL_TYPE_INVALID_URL",
)


def check(payload: Any) -> Refusal | None:
    """Return the first fault, with its code in `error` and its dotted place in `field`, or None."""
    if not isinstance(payload, dict):
        return Refusal(error="50109", message="The request body contains invalid JSON.")
    embeds = payload.get("embeds")
    if not payload.get("content") and not embeds:
        return Refusal(error="50006", message="Cannot send an empty message")
    return next(_faults(payload, embeds or []), None)


def _faults(payload: dict[str, Any], embeds: Any) -> Iterator[Refusal]:
    yield from _text(payload, "content", MAX_CONTENT_CHARS, "")
    yield from _text(payload, "username", MAX_USERNAME_CHARS, "")
    yield from _mention_faults(payload.get("allowed_mentions"))
    if not isinstance(embeds, list):
        yield _fault("embeds", TYPE, "Only iterables may be used in a list type")
        return
    if len(embeds) > MAX_EMBEDS:
        yield _fault("embeds", TOO_LONG, f"Must be {MAX_EMBEDS} or fewer in length.")
    for index, embed in enumerate(embeds):
        yield from _embed_faults(embed, f"embeds.{index}")
    if sum(map(_embed_chars, embeds)) > MAX_ALL_EMBEDS_CHARS:
        message = f"Embed size exceeds maximum size of {MAX_ALL_EMBEDS_CHARS}"
        yield _fault("embeds", "MAX_EMBED_SIZE_EXCEEDED", message)


def _fault(field: str, code: str, message: str) -> Refusal:
    return Refusal(error=code, field=field, message=message)


def _text(holder: dict[str, Any], name: str, limit: int, where: str, *, is_required: bool = False) -> Iterator[Refusal]:
    field = f"{where}.{name}" if where else name
    value = holder.get(name)
    if value is None or value == "":
        if is_required:
            yield _fault(field, REQUIRED, "This field is required")
    elif not isinstance(value, str):
        yield _fault(field, TYPE, "Could not interpret as string.")
    elif len(value) > limit:
        yield _fault(field, TOO_LONG, f"Must be {limit} or fewer in length.")


def _embed_faults(embed: Any, where: str) -> Iterator[Refusal]:
    if not isinstance(embed, dict):
        yield _fault(where, TYPE, "Only dictionaries may be used in a DictType")
        return
    yield from _text(embed, "title", MAX_TITLE_CHARS, where)
    yield from _text(embed, "description", MAX_DESCRIPTION_CHARS, where)
    color = embed.get("color")
    if color is not None and (not isinstance(color, int) or not 0 <= color <= MAX_COLOR):
        yield _fault(f"{where}.color", "NUMBER_TYPE_MAX", f"int value should be 0 to {MAX_COLOR}.")
    for part in ("footer", "author", "image", "thumbnail"):
        if not isinstance(embed.get(part) or {}, dict):
            yield _fault(f"{where}.{part}", TYPE, "Only dictionaries may be used in a DictType")
            return
    for part, name, limit in (("footer", "text", MAX_FOOTER_CHARS), ("author", "name", MAX_AUTHOR_CHARS)):
        if embed.get(part):
            yield from _text(embed[part], name, limit, f"{where}.{part}", is_required=True)
    yield from _url_faults(embed, where)
    fields = embed.get("fields") or []
    if not isinstance(fields, list) or not all(isinstance(entry, dict) for entry in fields):
        yield _fault(f"{where}.fields", TYPE, "Only dictionaries may be used in a DictType")
        return
    if len(fields) > MAX_FIELDS:
        yield _fault(f"{where}.fields", TOO_LONG, f"Must be {MAX_FIELDS} or fewer in length.")
    for index, entry in enumerate(fields):
        place = f"{where}.fields.{index}"
        yield from _text(entry, "name", MAX_FIELD_NAME_CHARS, place, is_required=True)
        yield from _text(entry, "value", MAX_FIELD_VALUE_CHARS, place, is_required=True)


def _url_faults(embed: dict[str, Any], where: str) -> Iterator[Refusal]:
    links = [("url", embed.get("url"))]
    links += [(f"{part}.url", (embed.get(part) or {}).get("url")) for part in ("image", "thumbnail", "author")]
    for name, url in links:
        if url is not None and not (isinstance(url, str) and url.startswith(("https://", "http://"))):
            yield _fault(f"{where}.{name}", URL, "Not a well formed URL.")


def _mention_faults(mentions: Any) -> Iterator[Refusal]:
    if mentions is None:
        return
    if not isinstance(mentions, dict):
        yield _fault("allowed_mentions", TYPE, "Only dictionaries may be used in a DictType")
        return
    for name in ("parse", "users", "roles"):
        if not isinstance(mentions.get(name) or [], list):
            yield _fault(f"allowed_mentions.{name}", TYPE, "Only iterables may be used in a list type")
            return
    for index, kind in enumerate(mentions.get("parse") or []):
        if not isinstance(kind, str) or kind not in MENTION_TYPES:
            yield _fault(f"allowed_mentions.parse.{index}", CHOICES, f"Value must be one of {sorted(MENTION_TYPES)}.")
    for name in ("users", "roles"):
        if len(mentions.get(name) or []) > MAX_MENTION_IDS:
            yield _fault(f"allowed_mentions.{name}", TOO_LONG, f"Must be {MAX_MENTION_IDS} or fewer in length.")


def _embed_chars(embed: dict[str, Any]) -> int:
    """Return the characters that count towards the limit of all embeds together."""
    texts = [embed.get("title"), embed.get("description")]
    texts += [(embed.get("footer") or {}).get("text"), (embed.get("author") or {}).get("name")]
    texts += [entry.get(name) for entry in embed.get("fields") or [] for name in ("name", "value")]
    return sum(len(text) for text in texts if isinstance(text, str))


def errors_of(refusal: Refusal) -> dict[str, Any]:
    """Return the answer's body: the fault nested under its place, as Discord nests it.

    Source: https://discord.com/developers/docs/reference#error-messages.
    """
    if not refusal.field:
        return {"message": refusal.message, "code": int(refusal.error)}
    nested: dict[str, Any] = {"_errors": [{"code": refusal.error, "message": refusal.message}]}
    for part in reversed(refusal.field.split(".")):
        nested = {part: nested}
    return {"message": "Invalid Form Body", "code": 50035, "errors": nested}
