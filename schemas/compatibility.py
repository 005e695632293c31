"""Judges evolution: every version of a message must read every other one (FULL_TRANSITIVE)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import combinations

import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.avsc import MessageVersion


def incompatibilities(versions: Iterable[MessageVersion]) -> list[str]:
    """One sentence for each pair of versions of a message of which one cannot read the other."""
    ordered = sorted(versions, key=lambda one: (one.message, one.version))
    return [
        f"{writer.message}: version {reader.version} cannot read version {writer.version}: {reason}"
        for older, newer in combinations(ordered, 2)
        if older.message == newer.message
        for reader, writer in ((newer, older), (older, newer))
        if (reason := _why_unreadable(reader, writer))
    ]


def _why_unreadable(reader: MessageVersion, writer: MessageVersion) -> str:
    """Why a reader's schema does not read the writer's, by the rules of schema resolution; empty if it does."""
    result = ReaderWriterCompatibilityChecker().get_compatibility(  # type: ignore[no-untyped-call]  # it has no types
        avro.schema.parse(json.dumps(reader.schema)), avro.schema.parse(json.dumps(writer.schema))
    )
    if result.compatibility is SchemaCompatibilityType.compatible:
        return ""
    return "; ".join(sorted(result.messages)) or "the schemas do not match"
