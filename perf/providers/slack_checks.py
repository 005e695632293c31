"""What a Slack incoming webhook refuses: a pure check of a message's text and Block Kit blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from perf.providers.exchange import Refusal

# https://api.slack.com/methods/chat.postMessage#truncating
MAX_TEXT_CHARS = 40_000
# https://api.slack.com/reference/block-kit/blocks
MAX_BLOCKS = 50
MAX_SECTION_CHARS = 3_000
MAX_FIELDS = 10
MAX_FIELD_CHARS = 2_000
MAX_HEADER_CHARS = 150
MAX_CONTEXT_ELEMENTS = 10
MAX_ACTIONS = 25
MAX_IMAGE_URL_CHARS = 3_000
MAX_ALT_CHARS = 2_000
MAX_ID_CHARS = 255
# https://api.slack.com/reference/block-kit/block-elements#button
MAX_BUTTON_TEXT_CHARS = 75
MAX_BUTTON_VALUE_CHARS = 2_000
MAX_BUTTON_URL_CHARS = 3_000
# Measured, not documented: beyond about this many characters in all blocks the answer is msg_blocks_too_long.
MAX_ALL_BLOCKS_CHARS = 13_200

_TEXT_TYPES = frozenset({"mrkdwn", "plain_text"})


class InvalidBlocksError(ValueError):
    """A block breaks a rule of Block Kit; the attribute says where and why."""


def check(payload: Any) -> Refusal | None:
    """Return the refusal of an incoming webhook, `invalid_payload`, `no_text`, `invalid_blocks`..., or None."""
    if not isinstance(payload, dict):
        return Refusal(error="invalid_payload")
    text = payload.get("text")
    if not isinstance(text, str) or not text.strip():
        return Refusal(error="no_text", field="text", message="a fallback text is required")
    if len(text) > MAX_TEXT_CHARS:
        return Refusal(error="msg_too_long", field="text")
    return _check_all(payload.get("blocks") or [])


def _check_all(blocks: Any) -> Refusal | None:
    try:
        _check_blocks(blocks)
    except InvalidBlocksError as error:
        return Refusal(error="invalid_blocks", field="blocks", message=str(error))
    if sum(map(len, _texts(blocks))) > MAX_ALL_BLOCKS_CHARS:
        return Refusal(error="msg_blocks_too_long", field="blocks")
    return None


def _require(holds: bool, reason: str) -> None:  # noqa: FBT001  - reads as a sentence at each call
    if not holds:
        raise InvalidBlocksError(reason)


def _check_blocks(blocks: Any) -> None:
    _require(isinstance(blocks, list), "blocks is a list")
    _require(len(blocks) <= MAX_BLOCKS, f"more than {MAX_BLOCKS} blocks")
    seen: set[str] = set()
    for block in blocks:
        _require(isinstance(block, dict), "a block is an object")
        check_block = _BLOCKS.get(str(block.get("type")))
        if check_block is None:
            raise InvalidBlocksError(f"unknown type of block: {block.get('type')!r}")
        block_id = block.get("block_id")
        _check_id(block_id, "block_id")
        _require(block_id is None or block_id not in seen, "block_id is used twice")
        seen.add(str(block_id))
        check_block(block)


def _check_id(value: Any, name: str) -> None:
    _require(value is None or (isinstance(value, str) and len(value) <= MAX_ID_CHARS), f"{name} over {MAX_ID_CHARS}")


def _check_text(value: Any, limit: int, where: str, *, is_plain: bool = False) -> None:
    _require(isinstance(value, dict) and value.get("type") in _TEXT_TYPES, f"{where}: not a text object")
    _require(not is_plain or value["type"] == "plain_text", f"{where}: must be plain_text")
    text = value.get("text")
    _require(isinstance(text, str) and 1 <= len(text) <= limit, f"{where}: text must have 1 to {limit} characters")


def _check_url(value: Any, limit: int, where: str) -> None:
    _require(isinstance(value, str) and value.startswith(("https://", "http://")), f"{where}: not a URL")
    _require(len(value) <= limit, f"{where}: longer than {limit}")


def _check_section(block: dict[str, Any]) -> None:
    _require("text" in block or "fields" in block, "section: text or fields is required")
    if "text" in block:
        _check_text(block["text"], MAX_SECTION_CHARS, "section")
    fields = block.get("fields", [])
    _require(isinstance(fields, list) and len(fields) <= MAX_FIELDS, f"section: more than {MAX_FIELDS} fields")
    for entry in fields:
        _check_text(entry, MAX_FIELD_CHARS, "section field")
    if "accessory" in block:
        _check_element(block["accessory"])


def _check_header(block: dict[str, Any]) -> None:
    _check_text(block.get("text"), MAX_HEADER_CHARS, "header", is_plain=True)


def _check_context(block: dict[str, Any]) -> None:
    elements = block.get("elements")
    _require(isinstance(elements, list) and 1 <= len(elements) <= MAX_CONTEXT_ELEMENTS, "context: 1 to 10 elements")
    for element in elements or []:
        if isinstance(element, dict) and element.get("type") == "image":
            _check_image(element)
        else:
            _check_text(element, MAX_SECTION_CHARS, "context")


def _check_actions(block: dict[str, Any]) -> None:
    elements = block.get("elements")
    _require(isinstance(elements, list) and 1 <= len(elements) <= MAX_ACTIONS, "actions: 1 to 25 elements")
    for element in elements or []:
        _check_element(element)


def _check_element(element: Any) -> None:
    _require(isinstance(element, dict) and isinstance(element.get("type"), str), "an element has a type")
    if element["type"] == "image":
        _check_image(element)
    if element["type"] != "button":
        return
    _check_text(element.get("text"), MAX_BUTTON_TEXT_CHARS, "button", is_plain=True)
    _check_id(element.get("action_id"), "action_id")
    if "url" in element:
        _check_url(element["url"], MAX_BUTTON_URL_CHARS, "button url")
    value = element.get("value", "")
    _require(isinstance(value, str) and len(value) <= MAX_BUTTON_VALUE_CHARS, "button value over 2,000")


def _check_image(block: dict[str, Any]) -> None:
    _check_url(block.get("image_url"), MAX_IMAGE_URL_CHARS, "image_url")
    alt = block.get("alt_text")
    _require(
        isinstance(alt, str) and len(alt) <= MAX_ALT_CHARS, f"image: alt_text is required, {MAX_ALT_CHARS} at most"
    )
    if "title" in block:
        _check_text(block["title"], MAX_ALT_CHARS, "image title", is_plain=True)


def _check_nothing(block: dict[str, Any]) -> None:
    """A divider has no content, and rich text has no limits that a page names."""


_BLOCKS = {
    "section": _check_section,
    "header": _check_header,
    "context": _check_context,
    "actions": _check_actions,
    "image": _check_image,
    "divider": _check_nothing,
    "rich_text": _check_nothing,
}


def _texts(value: Any) -> Iterator[str]:
    """Yield every text and alternative text inside the blocks."""
    if isinstance(value, list):
        for entry in value:
            yield from _texts(entry)
    elif isinstance(value, dict):
        for name, entry in value.items():
            if name in ("text", "alt_text") and isinstance(entry, str):
                yield entry
            else:
                yield from _texts(entry)
