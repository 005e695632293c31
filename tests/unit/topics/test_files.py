"""Topic files are read strictly: every fault names the file, the field and the remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from topics.errors import TopicError
from topics.files import delivery_key, is_changelog, load_topics

pytestmark = pytest.mark.unit

FILE: dict[str, Any] = {
    "name": "thing.made.v1",
    "message": "ThingMade",
    "partitions": "shards",
    "key": "none",
    "retention_ms": 1000,
    "cleanup": "delete",
    "dlq": True,
    "description": "Things.",
    "producers": ["makers"],
    "consumers": ["takers"],
}
CHANGELOG: dict[str, Any] = {"name": "tidewire-thing-changelog", "message": None, "cleanup": "compact", "dlq": False}


def put(folder: Path, *, without: str = "", file: str = "", **keys: Any) -> Path:
    """Writes a topic file with some keys replaced or left out."""
    entry = {key: value for key, value in (FILE | keys).items() if key != without}
    path = folder / (file or f"{FILE['name'] if without == 'name' else entry['name']}.yaml")
    path.write_text(yaml.safe_dump(entry), encoding="utf-8")
    return path


def test_a_file_becomes_a_topic(tmp_path: Path) -> None:
    """`shards` is None until the number of shards is known."""
    put(tmp_path)
    (topic,) = load_topics({"ThingMade"}, tmp_path)
    assert (topic.name, topic.message, topic.partitions) == ("thing.made.v1", "ThingMade", None)
    assert (topic.producers, topic.consumers, topic.has_dlq) == (("makers",), ("takers",), True)
    assert (is_changelog(topic), delivery_key(topic)) == (False, None)


def test_topics_come_by_name(tmp_path: Path) -> None:
    """So that generated files do not depend on the file system."""
    for name in ("b.v1", "a.v1", "delivery.email.alert.v1"):
        put(tmp_path, name=name, partitions=8)
    topics = load_topics({"ThingMade"}, tmp_path)
    assert [topic.name for topic in topics] == ["a.v1", "b.v1", "delivery.email.alert.v1"]
    assert delivery_key(topics[2]) == ("email", "alert")


def test_a_changelog_has_no_message(tmp_path: Path) -> None:
    """The log of a table is compacted and never buried."""
    put(tmp_path, **CHANGELOG)
    (topic,) = load_topics((), tmp_path)
    assert is_changelog(topic)


@pytest.mark.parametrize("key", sorted(FILE))
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    """No key has a default: what flows is written down."""
    path = put(tmp_path, without=key)
    with pytest.raises(TopicError) as raised:
        load_topics({"ThingMade"}, tmp_path)
    assert (raised.value.file, raised.value.field) == (path.name, key)
    assert raised.value.remedy.startswith("add it")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("retention", 5),
        ("name", "Thing.made.v1"),
        ("name", "thing.made"),
        ("name", "thing.made.v0"),
        ("name", "thing..v1"),
        ("name", 5),
        ("message", "OtherMade"),
        ("message", None),
        ("message", 5),
        ("partitions", 0),
        ("partitions", "8"),
        ("partitions", True),
        ("key", ""),
        ("key", " x"),
        ("retention_ms", 0),
        ("retention_ms", -2),
        ("retention_ms", 1.5),
        ("retention_ms", True),
        ("cleanup", "remove"),
        ("dlq", "yes"),
        ("dlq", 1),
        ("description", None),
        ("producers", []),
        ("producers", "makers"),
        ("consumers", [1]),
    ],
)
def test_a_wrong_value_is_named(tmp_path: Path, key: str, value: Any) -> None:
    """An unknown key and each value out of its kind stop the load, with what to write instead."""
    put(tmp_path, file="thing.made.v1.yaml", **{key: value})
    with pytest.raises(TopicError) as raised:
        load_topics({"ThingMade"}, tmp_path)
    assert (raised.value.file, raised.value.field) == ("thing.made.v1.yaml", key)
    assert raised.value.remedy
    assert "thing.made.v1.yaml" in str(raised.value)


def test_a_file_is_named_as_its_topic(tmp_path: Path) -> None:
    """A copied file with the old name inside would make a topic twice."""
    put(tmp_path, file="other.made.v1.yaml")
    with pytest.raises(TopicError) as raised:
        load_topics({"ThingMade"}, tmp_path)
    assert (raised.value.file, raised.value.field) == ("other.made.v1.yaml", "name")


@pytest.mark.parametrize("change", [{"message": "ThingMade"}, {"cleanup": "delete"}, {"dlq": True}])
def test_a_changelog_is_nothing_else(tmp_path: Path, change: dict[str, Any]) -> None:
    """A table's log that is deleted by age would lose the table."""
    put(tmp_path, **(CHANGELOG | change))
    with pytest.raises(TopicError):
        load_topics({"ThingMade"}, tmp_path)


@pytest.mark.parametrize("text", ["- a", "", "a: [", "\x00"])
def test_what_is_no_mapping_is_named(tmp_path: Path, text: str) -> None:
    """Broken YAML is an error of the file, not of the parser."""
    (tmp_path / "x.v1.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(TopicError) as raised:
        load_topics((), tmp_path)
    assert raised.value.file == "x.v1.yaml"
