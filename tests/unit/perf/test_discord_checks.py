"""What the Discord simulator refuses, at and beyond each limit."""

from __future__ import annotations

from typing import Any

import pytest

from perf.providers.discord_checks import check, errors_of
from perf.providers.exchange import Refusal

pytestmark = pytest.mark.unit


def embeds(*parts: dict[str, Any]) -> dict[str, Any]:
    """A message of these embeds."""
    return {"embeds": list(parts)}


def field(name: int = 1, value: int = 1) -> dict[str, Any]:
    """An embed's field with so many characters."""
    return {"name": "n" * name, "value": "v" * value}


@pytest.mark.parametrize(
    "payload",
    [
        {"content": "c" * 2_000, "username": "u" * 80},
        {"content": "c", "embeds": None, "allowed_mentions": {"parse": []}},
        {"content": "c", "allowed_mentions": {"parse": ["users"], "roles": ["1"] * 100}},
        embeds(*[{"title": "t"}] * 10),
        embeds({"title": "t" * 256, "description": "d" * 4_096, "color": 0xFFFFFF, "url": "https://example.org"}),
        embeds({"fields": [field()] * 25}),
        embeds({"fields": [field(256, 1_024)], "author": {"name": "a" * 256}}),
        embeds({"footer": {"text": "f" * 2_048}, "image": {"url": "https://example.org/i.png"}}),
        embeds({"description": "d" * 4_096}, {"description": "d" * 1_904}),
    ],
)
def test_messages_at_their_limits_are_taken(payload: dict[str, Any]) -> None:
    """A message right at each limit is not refused."""
    assert check(payload) is None


@pytest.mark.parametrize(
    ("payload", "error", "place"),
    [
        ([], "50109", ""),
        ({}, "50006", ""),
        ({"content": "", "embeds": []}, "50006", ""),
        ({"content": "c" * 2_001}, "BASE_TYPE_MAX_LENGTH", "content"),
        ({"content": 5}, "BASE_TYPE_BAD_TYPE", "content"),
        ({"content": "c", "username": "u" * 81}, "BASE_TYPE_MAX_LENGTH", "username"),
        ({"content": "c", "allowed_mentions": {"parse": ["here"]}}, "BASE_TYPE_CHOICES", "allowed_mentions.parse.0"),
        ({"content": "c", "allowed_mentions": []}, "BASE_TYPE_BAD_TYPE", "allowed_mentions"),
        (
            {"content": "c", "allowed_mentions": {"users": ["1"] * 101}},
            "BASE_TYPE_MAX_LENGTH",
            "allowed_mentions.users",
        ),
        ({"embeds": {"title": "t"}}, "BASE_TYPE_BAD_TYPE", "embeds"),
        (embeds(*[{"title": "t"}] * 11), "BASE_TYPE_MAX_LENGTH", "embeds"),
        ({"embeds": ["t"]}, "BASE_TYPE_BAD_TYPE", "embeds.0"),
        (embeds({}, {"title": "t" * 257}), "BASE_TYPE_MAX_LENGTH", "embeds.1.title"),
        (embeds({"description": "d" * 4_097}), "BASE_TYPE_MAX_LENGTH", "embeds.0.description"),
        (embeds({"url": "javascript:x"}), "URL_TYPE_INVALID_URL", "embeds.0.url"),
        (embeds({"image": {"url": "x"}}), "URL_TYPE_INVALID_URL", "embeds.0.image.url"),
        (embeds({"color": 0x1000000}), "NUMBER_TYPE_MAX", "embeds.0.color"),
        (embeds({"fields": [field()] * 26}), "BASE_TYPE_MAX_LENGTH", "embeds.0.fields"),
        (embeds({"fields": [field(257)]}), "BASE_TYPE_MAX_LENGTH", "embeds.0.fields.0.name"),
        (embeds({"fields": [field(1, 1_025)]}), "BASE_TYPE_MAX_LENGTH", "embeds.0.fields.0.value"),
        (embeds({"fields": [{"name": "n"}]}), "BASE_TYPE_REQUIRED", "embeds.0.fields.0.value"),
        (embeds({"footer": {"text": "f" * 2_049}}), "BASE_TYPE_MAX_LENGTH", "embeds.0.footer.text"),
        (embeds({"author": {"name": "a" * 257}}), "BASE_TYPE_MAX_LENGTH", "embeds.0.author.name"),
        (
            embeds({"description": "d" * 4_096}, {"description": "d" * 1_905}),
            "MAX_EMBED_SIZE_EXCEEDED",
            "embeds",
        ),
        (
            embeds({"fields": [field(256, 1_024)] * 4, "footer": {"text": "f" * 881}}),
            "MAX_EMBED_SIZE_EXCEEDED",
            "embeds",
        ),
    ],
)
def test_messages_beyond_a_limit_are_refused(payload: Any, error: str, place: str) -> None:
    """One step beyond a limit is refused with the code and the place of the fault."""
    refusal = check(payload)
    assert refusal is not None
    assert (refusal.status, refusal.error, refusal.field) == (400, error, place)


def test_a_fault_is_nested_under_its_place() -> None:
    """The body names the field as Discord's does, and a fault without a field has its own code."""
    refusal = Refusal(error="BASE_TYPE_MAX_LENGTH", field="embeds.0.title", message="m")
    wanted = {"embeds": {"0": {"title": {"_errors": [{"code": "BASE_TYPE_MAX_LENGTH", "message": "m"}]}}}}
    assert errors_of(refusal) == {"message": "Invalid Form Body", "code": 50035, "errors": wanted}
    assert errors_of(Refusal(error="50006", message="empty")) == {"message": "empty", "code": 50006}
