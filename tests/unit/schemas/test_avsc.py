"""The rules of schema files are enforced, and the error says how to mend the file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from schemas.avsc import latest, load_versions, shipped_versions, without_logical_types
from schemas.errors import SchemaFileError

pytestmark = pytest.mark.unit

FILE: dict[str, Any] = {"type": "record", "name": "Made", "namespace": "tidewire", "schema_id": 1, "fields": []}


def put(folder: Path, file: str, **keys: Any) -> None:
    """Writes a schema file with some keys replaced."""
    (folder / file).write_text(json.dumps(FILE | keys), encoding="utf-8")


def test_versions_come_in_order(tmp_path: Path) -> None:
    """By message, then version; latest takes the highest."""
    put(tmp_path, "Made.2.avsc", schema_id=3)
    put(tmp_path, "Made.1.avsc")
    put(tmp_path, "Also.1.avsc", name="Also", schema_id=2)
    versions = load_versions(tmp_path)
    assert [(one.message, one.version, one.schema_id) for one in versions] == [
        ("Also", 1, 2),
        ("Made", 1, 1),
        ("Made", 2, 3),
    ]
    assert latest(versions)["Made"].version == 2


@pytest.mark.parametrize(
    ("files", "field"),
    [
        ({"made.1.avsc": {}}, "file name"),
        ({"Made.avsc": {}}, "file name"),
        ({"Made.01.avsc": {}}, "file name"),
        ({"Made.1.avsc": {"name": "Other"}}, "name"),
        ({"Made.1.avsc": {"namespace": "other"}}, "namespace"),
        ({"Made.1.avsc": {"type": "enum"}}, "type"),
        ({"Made.1.avsc": {"schema_id": "1"}}, "schema_id"),
        ({"Made.1.avsc": {"schema_id": 0}}, "schema_id"),
        ({"Made.1.avsc": {"schema_id": 2}}, "schema_id"),
        ({"Made.1.avsc": {}, "Made.2.avsc": {}}, "schema_id"),
        ({"Made.2.avsc": {}}, "version"),
        ({"Made.1.avsc": {}, "Made.3.avsc": {"schema_id": 2}}, "version"),
    ],
)
def test_a_file_that_breaks_a_rule_is_named(tmp_path: Path, files: dict[str, dict[str, Any]], field: str) -> None:
    """Names, ids and versions: ids are never reused, versions never removed."""
    for file, keys in files.items():
        put(tmp_path, file, **keys)
    with pytest.raises(SchemaFileError) as raised:
        load_versions(tmp_path)
    assert raised.value.field == field
    assert raised.value.file in files


def test_text_that_is_no_json_is_named(tmp_path: Path) -> None:
    """The file is in the error."""
    (tmp_path / "Made.1.avsc").write_text("{", encoding="utf-8")
    with pytest.raises(SchemaFileError) as raised:
        load_versions(tmp_path)
    assert raised.value.file == "Made.1.avsc"


def test_logical_types_are_taken_off_and_names_of_fields_are_not() -> None:
    """Only keys of types go, wherever they are; docs and defaults stay."""
    schema = {
        "type": [{"type": "long", "logicalType": "x", "precision": 1, "scale": 0}, "null"],
        "default": {"scale": 1},
    }
    assert without_logical_types(schema) == {"type": [{"type": "long"}, "null"], "default": {"scale": 1}}
    assert shipped_versions() is shipped_versions()
