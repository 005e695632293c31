"""Compiles a schema into a function that checks every value while it turns messages into Avro values or back."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Protocol, TypeAlias

from schemas import messages
from schemas.errors import SchemaError

Converter: TypeAlias = Callable[[Any], Any]

MAX_FLOAT = 3.4028234663852886e38  # the largest finite IEEE 754 single

_INTEGER_BOUNDS = {"int": (-(2**31), 2**31 - 1), "long": (-(2**63), 2**63 - 1)}
_REAL_BOUNDS = {"float": MAX_FLOAT, "double": float("inf")}


class Direction(Protocol):
    """What differs between writing Avro, reading Avro and reading JSON; every method compiles one kind of value."""

    def fail(self, path: str, detail: str) -> SchemaError:
        """The error for a value; `detail` never quotes the value."""
        ...

    def timestamp(self, path: str) -> Converter:
        """Times: aware UTC datetime in messages, ms since 1970 in Avro."""
        ...

    def enumeration(self, path: str, cls: type[StrEnum]) -> Converter:
        """Enums: StrEnum in messages, the symbol in Avro."""
        ...

    def fixed(self, path: str, size: int) -> Converter:
        """Opaque bytes of one size."""
        ...

    def number(self, path: str, size: int, precision: int) -> Converter:
        """Numbers of a constant width: int in messages, big-endian two's complement in Avro."""
        ...

    def record(self, path: str, cls: type[Any], converters: Mapping[str, Converter]) -> Converter:
        """Records: dataclass in messages, dict in Avro."""
        ...


def compile_converter(schema: Any, direction: Direction) -> Converter:
    """The converter of a parsed .avsc; raises at compile time (KeyError) on a type that messages do not use."""
    return _Compiler(direction).compile(schema, "")


class _Compiler:
    def __init__(self, direction: Direction) -> None:
        self._direction = direction
        self._named: dict[str, dict[str, Any]] = {}

    def compile(self, schema: Any, path: str) -> Converter:
        if isinstance(schema, list):
            return self._nullable(schema, path)
        if isinstance(schema, str):
            schema = self._named.get(schema, {"type": schema})
        kind = schema["type"]
        if kind in ("record", "enum", "fixed"):
            self._named[schema["name"]] = schema
            return self._named_type(schema, path)
        if kind == "array":
            return self._array(schema["items"], path)
        if kind == "map":
            return self._map(self.compile(schema["values"], f"{path}.*"), path)
        if schema.get("logicalType") == "timestamp-millis":
            return self._direction.timestamp(path)
        return self._primitive(kind, path)

    def _named_type(self, schema: dict[str, Any], path: str) -> Converter:
        if schema["type"] == "enum":
            return self._direction.enumeration(path, messages.ENUMS[schema["name"]])
        if schema["type"] == "fixed":
            if schema.get("logicalType") == "decimal":
                return self._direction.number(path, schema["size"], schema["precision"])
            return self._direction.fixed(path, schema["size"])
        prefix = f"{path}." if path else ""
        converters = {field["name"]: self.compile(field["type"], prefix + field["name"]) for field in schema["fields"]}
        return self._direction.record(path, messages.RECORDS[schema["name"]], converters)

    def _nullable(self, schema: list[Any], path: str) -> Converter:
        (branch,) = (part for part in schema if part != "null")
        convert = self.compile(branch, path)
        return lambda value: None if value is None else convert(value)

    def _primitive(self, kind: str, path: str) -> Converter:
        fail = self._direction.fail
        if kind in _INTEGER_BOUNDS:
            return integer(path, fail, _INTEGER_BOUNDS[kind])
        if kind in _REAL_BOUNDS:
            return _real(path, fail, _REAL_BOUNDS[kind])
        return {"string": _text, "boolean": _boolean}[kind](path, fail)

    def _array(self, items: Any, path: str) -> Converter:
        fail = self._direction.fail
        convert_item = self.compile(items, f"{path}[]")

        def convert(values: Any) -> tuple[Any, ...]:
            if isinstance(values, (str, bytes, dict)):
                raise fail(path, "must be a list")
            try:
                return tuple([convert_item(value) for value in values])
            except TypeError as error:
                raise fail(path, "must be a list") from error

        if not isinstance(items, str):
            return convert
        if items in _INTEGER_BOUNDS:
            return _integers(convert, *_INTEGER_BOUNDS[items])
        return _reals(convert, _REAL_BOUNDS[items]) if items in _REAL_BOUNDS else convert

    def _map(self, convert_value: Converter, path: str) -> Converter:
        fail = self._direction.fail
        convert_key = _text(f"{path}.*", fail)

        def convert(values: Any) -> dict[str, Any]:
            if not isinstance(values, Mapping):
                raise fail(path, "must be a map")
            return {convert_key(key): convert_value(value) for key, value in values.items()}

        return convert


Fail: TypeAlias = Callable[[str, str], SchemaError]


def integer(path: str, fail: Fail, bounds: tuple[int, int]) -> Converter:
    """The check of a whole number, numpy's too, against both bounds."""
    low, high = bounds

    def convert(value: Any) -> int:
        try:
            number = operator.index(value)
        except TypeError as error:
            raise fail(path, "must be a whole number") from error
        if isinstance(value, bool) or not low <= number <= high:
            raise fail(path, f"must be a whole number in [{low}, {high}]")
        return number

    return convert


def _real(path: str, fail: Fail, bound: float) -> Converter:
    def convert(value: Any) -> float:
        try:
            number = math.nan if isinstance(value, (bool, str, bytes)) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number) or abs(number) > bound:
            raise fail(path, "must be a finite number")
        return number

    return convert


def _integers(convert_one_by_one: Converter, low: int, high: int) -> Converter:
    """Long arrays of whole numbers are checked by their extremes; anything odd takes the slow way to its error."""

    def convert(values: Any) -> tuple[Any, ...]:
        rows = values.tolist() if hasattr(values, "tolist") else values
        plain = type(rows) in (list, tuple) and set(map(type, rows)) == {int}
        if plain and low <= min(rows) and max(rows) <= high:
            return tuple(rows)
        return tuple(convert_one_by_one(rows))

    return convert


def _reals(convert_one_by_one: Converter, bound: float) -> Converter:
    """Long arrays of numbers are checked without a call each; anything odd takes the slow way to its error."""

    def convert(values: Any) -> tuple[Any, ...]:
        rows = values.tolist() if hasattr(values, "tolist") else values
        plain = type(rows) in (list, tuple) and set(map(type, rows)) == {float}
        if plain and all(map(math.isfinite, rows)) and -bound <= min(rows) and max(rows) <= bound:
            return tuple(rows)
        return tuple(convert_one_by_one(rows))

    return convert


def _text(path: str, fail: Fail) -> Converter:
    def convert(value: Any) -> str:
        if not isinstance(value, str):
            raise fail(path, "must be a text")
        if "\x00" in value:  # PostgreSQL stores no NUL in text
            raise fail(path, "must not contain NUL")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise fail(path, "must be valid Unicode") from error
        return str(value)

    return convert


def _boolean(path: str, fail: Fail) -> Converter:
    def convert(value: Any) -> bool:
        if value is True or value is False:
            return bool(value)
        raise fail(path, "must be true or false")

    return convert
