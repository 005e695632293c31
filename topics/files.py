"""Reads topics/*.yaml strictly: every key must be there, be known, and be of the right kind."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import yaml

from topics.errors import TopicError
from topics.model import Topic

FOLDER = Path(__file__).parent
"""Home of the topic files."""

_WORD = "[a-z][a-z0-9]*"
_EVENT_NAME = re.compile(rf"{_WORD}(\.{_WORD})*\.v[1-9][0-9]*")
_CHANGELOG_NAME = re.compile(rf"tidewire(-{_WORD})+-changelog")
_DELIVERY_NAME = re.compile(rf"delivery\.({_WORD})\.(alert|bulk)\.v1")
_SHARDS = "shards"


def load_topics(messages: Collection[str], folder: Path = FOLDER) -> tuple[Topic, ...]:
    """Every topic by name; `messages` are those that have a schema; raises TopicError: file, field and remedy."""
    return tuple(_load(path, messages) for path in sorted(folder.glob("*.yaml")))


def is_changelog(topic: Topic) -> bool:
    """Whether the topic is the log of a table instead of a stream of messages."""
    return _CHANGELOG_NAME.fullmatch(topic.name) is not None


def delivery_key(topic: Topic) -> tuple[str, str] | None:
    """(channel kind, lane) of a delivery topic, None of any other."""
    match = _DELIVERY_NAME.fullmatch(topic.name)
    return (match[1], match[2]) if match else None


def _load(path: Path, messages: Collection[str]) -> Topic:
    try:
        entry = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TopicError(path.name, "", "write valid YAML") from error
    if not isinstance(entry, dict):
        raise TopicError(path.name, "", "write a mapping of the keys " + ", ".join(_RULES))
    for key in entry:
        if key not in _RULES:
            raise TopicError(path.name, str(key), "remove it or spell it as one of " + ", ".join(_RULES))
    for key, (is_valid, remedy) in _RULES.items():
        if key not in entry:
            raise TopicError(path.name, key, f"add it: {remedy}")
        if not is_valid(entry[key]):
            raise TopicError(path.name, key, remedy)
    _check_together(path, entry, messages)
    return Topic(
        name=entry["name"],
        message=entry["message"],
        partitions=None if entry["partitions"] == _SHARDS else entry["partitions"],
        key=entry["key"],
        retention_ms=entry["retention_ms"],
        cleanup=entry["cleanup"],
        has_dlq=entry["dlq"],
        description=entry["description"],
        producers=tuple(entry["producers"]),
        consumers=tuple(entry["consumers"]),
    )


def _check_together(path: Path, entry: dict[str, Any], messages: Collection[str]) -> None:
    if path.name != f"{entry['name']}.yaml":
        raise TopicError(path.name, "name", "name the file as the topic")
    changelog = _CHANGELOG_NAME.fullmatch(entry["name"]) is not None
    if changelog and (entry["message"], entry["cleanup"], entry["dlq"]) != (None, "compact", False):
        raise TopicError(path.name, "cleanup", "a changelog has `message: null`, `cleanup: compact`, `dlq: false`")
    if not changelog and entry["message"] not in messages:
        raise TopicError(path.name, "message", f"write one of {', '.join(sorted(messages))}, or add its .avsc")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.strip() == value != ""


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_text, value))


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(_EVENT_NAME.fullmatch(value) or _CHANGELOG_NAME.fullmatch(value))


def _is_partitions(value: Any) -> bool:
    return value == _SHARDS or (type(value) is int and value >= 1)


def _is_retention(value: Any) -> bool:
    return type(value) is int and (value == -1 or value >= 1)


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "name": (_is_name, "write dot-separated nouns or states, then vN, as in `content.ready.v1`"),
    "message": (lambda value: value is None or _is_text(value), "write the name of a message"),
    "partitions": (_is_partitions, "write a number above 0, or `shards`"),
    "key": (_is_text, "say in words what the key of a record is"),
    "retention_ms": (_is_retention, "write milliseconds, or -1 for ever"),
    "cleanup": (lambda value: value in ("delete", "compact"), "write `delete` or `compact`"),
    "dlq": (lambda value: isinstance(value, bool), "write `true` or `false`"),
    "description": (_is_text, "say in one sentence what flows"),
    "producers": (_is_texts, "list who writes"),
    "consumers": (_is_texts, "list who reads"),
}
