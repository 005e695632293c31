"""The layout of an engagement event in memory and on the wire, derived from its schema."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from schemas.avsc import latest, shipped_versions
from schemas.directions import MAX_TIME_MS, MIN_TIME_MS
from schemas.errors import SchemaFileError

_VARINT_BYTES = 6
"""Encoded width of a millisecond time between 1970-07-18 and 2039-09-07 (2**34 to 2**41 ms)."""


def _event_fields() -> list[tuple[str, dict[str, Any]]]:
    """(name, type) of each field of the event record, with references to named types resolved."""
    schema = latest(shipped_versions())["EngagementRecorded"].schema
    (events,) = (field["type"]["items"] for field in schema["fields"] if field["name"] == "events")
    named: dict[str, dict[str, Any]] = {}
    columns = []
    for field in events["fields"]:
        kind = named[field["type"]] if isinstance(field["type"], str) else field["type"]
        named[kind.get("name", "")] = kind
        columns.append((field["name"], kind))
    return columns


def _wire_type(name: str, kind: dict[str, Any]) -> Any:
    if kind["type"] == "enum":
        return "u1"
    if kind["type"] == "fixed":
        return f">i{kind['size']}" if kind.get("logicalType") == "decimal" else ("u1", (kind["size"],))
    if kind.get("logicalType") == "timestamp-millis":
        return ("u1", (_VARINT_BYTES,))
    raise SchemaFileError("EngagementRecorded", name, "has no constant width: use a fixed, an enum or a time")


def _range_of(kind: dict[str, Any]) -> tuple[int, int]:
    if kind["type"] == "enum":
        return 0, len(kind["symbols"]) - 1
    if kind["type"] == "fixed":
        return -(10 ** kind["precision"]) + 1, 10 ** kind["precision"] - 1
    return MIN_TIME_MS, MAX_TIME_MS


_FIELDS = _event_fields()
_KINDS = dict(_FIELDS)

CODE_FIELDS: tuple[str, ...] = tuple(name for name, kind in _FIELDS if kind["type"] == "enum")
"""The enum fields, which stand side by side on the wire and in memory."""

WIRE_NUMBERS: tuple[str, ...] = tuple(name for name, kind in _FIELDS if kind.get("logicalType") == "decimal")
"""The fields that are fixed decimals of scale 0."""

RANGES: dict[str, tuple[int, int]] = {name: _range_of(kind) for name, kind in _FIELDS if name != "event_id"}
"""The values that an Avro reader shows right: by the precision of a decimal, the symbols of an enum, the calendar."""


def _with_codes(dtype: np.dtype[np.void]) -> np.dtype[np.void]:
    """The dtype with one more field, `codes`, over its enum fields together."""
    fields = dict(dtype.fields or {})
    offsets = [fields[name][1] for name in CODE_FIELDS]
    if offsets != list(range(offsets[0], offsets[0] + len(offsets))):
        raise SchemaFileError("EngagementRecorded", "events", "keep the enum fields side by side")
    formats = [fields[name][0] for name in fields]
    return np.dtype(
        {
            "names": [*fields, "codes"],
            "formats": [*formats, np.dtype(("u1", (len(CODE_FIELDS),)))],
            "offsets": [*(fields[name][1] for name in fields), offsets[0]],
            "itemsize": dtype.itemsize,
        }
    )


def _native_dtype() -> np.dtype[np.void]:
    """Widest fields first, so that every number is aligned; a multiple of eight bytes, so that rows are words.

    One-byte numbers get two bytes: so there is no padding today, which numpy drops when it joins arrays.
    """
    formats = {"occurred_at": "i8"}
    formats |= {name: f"i{max(_KINDS[name]['size'], 2)}" for name in WIRE_NUMBERS}
    ordered = sorted(formats, key=lambda name: -int(formats[name][1]))
    columns = [(name, formats[name]) for name in ordered]
    columns += [(name, "u1") for name in CODE_FIELDS]
    columns += [("event_id", "u1", (_KINDS["event_id"]["size"],))]  # type: ignore[list-item]  # a shape makes three
    packed = np.dtype(columns)
    fields = dict(packed.fields or {})
    return np.dtype(
        {
            "names": list(fields),
            "formats": [fields[name][0] for name in fields],
            "offsets": [fields[name][1] for name in fields],
            "itemsize": -(-packed.itemsize // 8) * 8,
        }
    )


EVENT_DTYPE: np.dtype[np.void] = _native_dtype()
"""An event in memory: the schema's field names; ms since 1970, native integers, enums as index of the symbol."""

GROUPED_DTYPE: np.dtype[np.void] = _with_codes(EVENT_DTYPE)

WIRE_DTYPE: np.dtype[np.void] = _with_codes(np.dtype([(name, _wire_type(name, kind)) for name, kind in _FIELDS]))
"""An event on the wire while its time is a varint of six bytes."""


def _forbidden_bits() -> npt.NDArray[np.int64]:
    """The bits of a row's words that no number far inside its range has: the sign, and all from its bound up."""
    row = np.zeros(1, dtype=EVENT_DTYPE)
    for name in WIRE_NUMBERS:
        safe_bits = RANGES[name][1].bit_length() - 1
        row[name] = -(1 << safe_bits)
    row["occurred_at"] = -(1 << (MAX_TIME_MS.bit_length() - 1))
    return row.view(np.int64)


FORBIDDEN_BITS: npt.NDArray[np.int64] = _forbidden_bits()
