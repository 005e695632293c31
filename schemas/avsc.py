"""The schema files: every version of every message, with the id that payloads carry."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from schemas.errors import SchemaFileError

FOLDER = Path(__file__).parent
"""Home of the .avsc files, in the checkout and in the wheel."""

_FILE_NAME = re.compile(r"([A-Z][A-Za-z]*)\.([1-9][0-9]*)\.avsc")


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageVersion:
    """One .avsc file: `schema` is its JSON as it stands, `schema_id` the id on the wire."""

    message: str
    version: int
    schema_id: int
    schema: dict[str, Any]


def load_versions(folder: Path = FOLDER) -> tuple[MessageVersion, ...]:
    """Every version of every message, by name and version; raises SchemaFileError, which names file and remedy."""
    versions = sorted(
        (_load(path) for path in folder.glob("*.avsc")), key=lambda version: (version.message, version.version)
    )
    _check_ids(versions)
    _check_sequences(versions)
    return tuple(versions)


@cache
def shipped_versions() -> tuple[MessageVersion, ...]:
    """The versions of the shipped files, read once."""
    return load_versions()


def latest(versions: Iterable[MessageVersion]) -> dict[str, MessageVersion]:
    """The highest version of each message, by message name."""
    return {version.message: version for version in sorted(versions, key=lambda one: (one.message, one.version))}


def without_logical_types(schema: Any) -> Any:
    """A copy of a schema whose values are read and written as they are on the wire: numbers and bytes."""
    if isinstance(schema, dict):
        return {
            key: value if key in ("default", "doc") else without_logical_types(value)
            for key, value in schema.items()
            if key not in ("logicalType", "precision", "scale")
        }
    return [without_logical_types(part) for part in schema] if isinstance(schema, list) else schema


def _load(path: Path) -> MessageVersion:
    match = _FILE_NAME.fullmatch(path.name)
    if match is None:
        raise SchemaFileError(path.name, "file name", "must be <Message>.<version>.avsc")
    try:
        schema = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise SchemaFileError(path.name, "", "must be JSON") from error
    expected = {"type": "record", "name": match[1], "namespace": "tidewire"}
    for key, value in expected.items():
        if not isinstance(schema, dict) or schema.get(key) != value:
            raise SchemaFileError(path.name, key, f"must be {value!r}")
    schema_id = schema.get("schema_id")
    if type(schema_id) is not int or not 0 < schema_id < 2**31:
        raise SchemaFileError(path.name, "schema_id", "must be a whole number above 0: take the highest plus 1")
    return MessageVersion(message=match[1], version=int(match[2]), schema_id=schema_id, schema=schema)


def _check_ids(versions: list[MessageVersion]) -> None:
    for expected, version in enumerate(sorted(versions, key=lambda one: one.schema_id), start=1):
        if version.schema_id != expected:
            file = f"{version.message}.{version.version}.avsc"
            detail = f"id {expected} is missing or taken twice: ids count from 1 and are never reused"
            raise SchemaFileError(file, "schema_id", detail)


def _check_sequences(versions: list[MessageVersion]) -> None:
    reached: dict[str, int] = {}
    for version in versions:
        if version.version != reached.get(version.message, 0) + 1:
            file = f"{version.message}.{version.version}.avsc"
            raise SchemaFileError(file, "version", "versions count from 1 without gaps and are never removed")
        reached[version.message] = version.version
