"""Schemas evolve so that every version reads every other one."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import avro.schema
import pytest

from schemas.avsc import MessageVersion, latest, shipped_versions
from schemas.compatibility import incompatibilities

pytestmark = pytest.mark.contract

VERSIONS = shipped_versions()
NEWEST = latest(VERSIONS)


@pytest.mark.parametrize("version", VERSIONS, ids=lambda one: f"{one.message}.{one.version}")
def test_every_file_is_valid_by_the_rules_of_avro(version: MessageVersion) -> None:
    """The reference implementation parses it without a warning, logical types too."""
    parsed = avro.schema.parse(json.dumps(version.schema))
    assert getattr(parsed, "fullname", "") == f"tidewire.{version.message}"


def test_all_shipped_versions_read_each_other() -> None:
    """FULL_TRANSITIVE: in both directions, over all versions."""
    assert incompatibilities(VERSIONS) == []


def evolved(change: Callable[[list[dict[str, Any]]], None], message: str = "DeliveryRequested") -> list[str]:
    """What is wrong with a next version whose fields were changed."""
    version = NEWEST[message]
    schema = copy.deepcopy(version.schema)
    change(schema["fields"])
    return incompatibilities([version, dataclasses.replace(version, version=version.version + 1, schema=schema)])


def add(field: dict[str, Any]) -> Callable[[list[dict[str, Any]]], None]:
    """The change that adds a field."""
    return lambda fields: fields.append({"doc": "Made up.", **field})


def retype(name: str, kind: Any) -> Callable[[list[dict[str, Any]]], None]:
    """The change that gives a field another type."""
    return lambda fields: next(field for field in fields if field["name"] == name).update(type=kind)


@pytest.mark.parametrize(
    "change",
    [
        add({"name": "size", "type": "long", "default": 0}),
        add({"name": "note", "type": ["null", "string"], "default": None}),
        lambda fields: next(field for field in fields if field["name"] == "lane")["type"]["symbols"].append("express"),
        lambda fields: fields.remove(next(field for field in fields if field["name"] == "deadline_at")),
    ],
    ids=["field with default", "nullable field", "symbol", "field with default away"],
)
def test_a_compatible_evolution_passes(change: Callable[[list[dict[str, Any]]], None]) -> None:
    """Fields with defaults come and go; enums grow, because they have a default."""
    assert evolved(change) == []


@pytest.mark.parametrize(
    "change",
    [
        add({"name": "size", "type": "long"}),
        lambda fields: fields.remove(next(field for field in fields if field["name"] == "run_id")),
        lambda fields: next(field for field in fields if field["name"] == "run_id").update(name="execution_id"),
        retype("run_id", "string"),
        retype("chunk", "long"),
        retype("lane", {"type": "enum", "name": "Line", "symbols": ["unknown"], "default": "unknown"}),
    ],
    ids=["no default", "required field away", "renamed", "other type", "widened: old readers fail", "renamed enum"],
)
def test_an_incompatible_evolution_fails(change: Callable[[list[dict[str, Any]]], None]) -> None:
    """The judge finds each kind of break, so that its silence means something."""
    (first, *_) = evolved(change)
    assert first.startswith("DeliveryRequested: version ")


def test_every_pair_is_judged_not_only_neighbours() -> None:
    """Three versions of which each reads its neighbour, and the third not the first."""
    version = NEWEST["ModelFitted"]

    def with_fields(number: int, *fields: dict[str, Any]) -> MessageVersion:
        schema = {**version.schema, "fields": [*version.schema["fields"], *fields]}
        return dataclasses.replace(version, version=number, schema=schema)

    long = {"name": "size", "type": "long", "default": 0}
    text = {"name": "size", "type": "string", "default": ""}
    found = incompatibilities([with_fields(1, long), with_fields(2), with_fields(3, text)])
    assert found
    assert all("version 2" not in sentence for sentence in found)
