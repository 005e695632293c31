"""What the Slack simulator refuses, at and beyond each limit."""

from __future__ import annotations

from typing import Any

import pytest

from perf.providers.slack_checks import check

pytestmark = pytest.mark.unit


def words(count: int, kind: str = "mrkdwn") -> dict[str, Any]:
    """A text object of so many characters."""
    return {"type": kind, "text": "x" * count}


def section(**parts: Any) -> dict[str, Any]:
    """A section of these parts."""
    return {"type": "section", **parts}


def button(**parts: Any) -> dict[str, Any]:
    """An actions block of one button."""
    return {"type": "actions", "elements": [{"type": "button", "text": words(4, "plain_text"), **parts}]}


def image(**parts: Any) -> dict[str, Any]:
    """An image block."""
    return {"type": "image", "image_url": "https://example.org/i.png", "alt_text": "", **parts}


def fields(count: int, chars: int = 1) -> dict[str, Any]:
    """A section of so many fields."""
    return section(fields=[words(chars)] * count)


DIVIDER = {"type": "divider"}
URL = "https://example.org/"


@pytest.mark.parametrize(
    "block",
    [
        section(text=words(3_000)),
        fields(10),
        fields(2, 2_000),
        section(text=words(5), accessory=image()),
        {"type": "header", "text": words(150, "plain_text")},
        {"type": "context", "elements": [words(1)] * 9 + [image()]},
        {"type": "actions", "elements": button()["elements"] * 25},
        button(url=URL + "x" * (3_000 - len(URL)), value="v" * 2_000, action_id="a" * 255),
        image(alt_text="a" * 2_000, title=words(5, "plain_text")),
        {"type": "rich_text", "elements": []},
        {"type": "divider", "block_id": "b" * 255},
    ],
)
def test_blocks_at_their_limits_are_taken(block: dict[str, Any]) -> None:
    """A block right at each limit of Block Kit is not refused."""
    assert check({"text": "t", "blocks": [block]}) is None


@pytest.mark.parametrize(
    "block",
    [
        "text",
        {"type": "table"},
        section(),
        section(text=words(3_001)),
        section(text=words(0)),
        section(text="bare"),
        section(text={"type": "html", "text": "x"}),
        fields(11),
        fields(1, 2_001),
        section(text=words(1), accessory={"text": "x"}),
        {"type": "header", "text": words(151, "plain_text")},
        {"type": "header", "text": words(5)},
        {"type": "context", "elements": []},
        {"type": "context", "elements": [words(1)] * 11},
        {"type": "actions", "elements": button()["elements"] * 26},
        button(text=words(76, "plain_text")),
        button(url=URL + "x" * 3_000),
        button(url="javascript:x"),
        button(value="v" * 2_001),
        button(action_id="a" * 256),
        image(image_url=URL + "x" * 3_000),
        image(alt_text=None),
        image(alt_text="a" * 2_001),
        {"type": "actions", "elements": [image(alt_text=1)]},
        {"type": "divider", "block_id": "b" * 256},
    ],
)
def test_blocks_beyond_a_limit_are_invalid(block: Any) -> None:
    """One step beyond a limit is invalid_blocks."""
    refusal = check({"text": "t", "blocks": [block]})
    assert refusal is not None
    assert (refusal.status, refusal.error) == (400, "invalid_blocks")


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        ({"text": "t"}, None),
        ({"text": "t" * 40_000}, None),
        ({"text": "t", "blocks": [DIVIDER] * 50}, None),
        ({"text": "t", "blocks": [section(text=words(3_000))] * 4 + [section(text=words(1_200))]}, None),
        ([], "invalid_payload"),
        ({"blocks": [DIVIDER]}, "no_text"),
        ({"text": "  "}, "no_text"),
        ({"text": 5}, "no_text"),
        ({"text": "t" * 40_001}, "msg_too_long"),
        ({"text": "t", "blocks": [DIVIDER] * 51}, "invalid_blocks"),
        ({"text": "t", "blocks": {"type": "divider"}}, "invalid_blocks"),
        ({"text": "t", "blocks": [{**DIVIDER, "block_id": "b"}] * 2}, "invalid_blocks"),
        (
            {"text": "t", "blocks": [section(text=words(3_000))] * 4 + [section(text=words(1_201))]},
            "msg_blocks_too_long",
        ),
    ],
)
def test_messages_are_checked_whole(payload: Any, error: str | None) -> None:
    """A message has a fallback text, at most 50 blocks, and at most 13,200 characters in them."""
    refusal = check(payload)
    assert (refusal.error if refusal else None) == error
