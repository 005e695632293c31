"""Both directions between message dataclasses and Avro's own values: numbers, bytes, texts, lists and dicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from schemas.convert import Converter, integer
from schemas.errors import MalformedPayloadError, SchemaError, UnencodableMessageError

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MILLISECOND = timedelta(milliseconds=1)
MIN_TIME_MS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
MAX_TIME_MS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // MILLISECOND


class ToAvro:
    """Messages to the values that fastavro writes; a bad value raises UnencodableMessageError."""

    def fail(self, path: str, detail: str) -> SchemaError:
        """The error of a value that does not fit."""
        return UnencodableMessageError(detail, field=path)

    def timestamp(self, path: str) -> Converter:
        """Aware datetime to ms since 1970, rounded down."""

        def convert(value: Any) -> int:
            if not isinstance(value, datetime) or value.tzinfo is None:
                raise self.fail(path, "must be an aware datetime")
            return (value - EPOCH) // MILLISECOND

        return convert

    def enumeration(self, path: str, cls: type[StrEnum]) -> Converter:
        """The symbol."""
        symbols = {str(member): member.value for member in cls}

        def convert(value: Any) -> str:
            if not isinstance(value, str) or value not in symbols:
                raise self.fail(path, "must be one of the symbols")
            return symbols[value]

        return convert

    def fixed(self, path: str, size: int) -> Converter:
        """The bytes."""

        def convert(value: Any) -> bytes:
            if not isinstance(value, bytes) or len(value) != size:
                raise self.fail(path, f"must be {size} bytes")
            return value

        return convert

    def number(self, path: str, size: int, precision: int) -> Converter:
        """Big-endian two's complement; the bounds are those of the decimal (Avro 1.12, Decimal)."""
        bounded = integer(path, self.fail, (-(10**precision) + 1, 10**precision - 1))
        return lambda value: bounded(value).to_bytes(size, "big", signed=True)

    def record(self, path: str, cls: type[Any], converters: Mapping[str, Converter]) -> Converter:
        """A dict by field name."""
        columns = tuple(converters.items())

        def convert(value: Any) -> dict[str, Any]:
            if not isinstance(value, cls):
                raise self.fail(path, f"must be {cls.__name__}")
            return {name: column(getattr(value, name)) for name, column in columns}

        return convert


class FromAvro:
    """The values that fastavro read to messages; a bad value raises MalformedPayloadError."""

    def fail(self, path: str, detail: str) -> SchemaError:
        """The error of a value that does not fit."""
        return MalformedPayloadError(detail, field=path)

    def timestamp(self, path: str) -> Converter:
        """Milliseconds since 1970 to an aware UTC datetime."""

        def convert(value: int) -> datetime:
            if not MIN_TIME_MS <= value <= MAX_TIME_MS:
                raise self.fail(path, "must be a time in the years 1 to 9999")
            return EPOCH + value * MILLISECOND

        return convert

    def enumeration(self, path: str, cls: type[StrEnum]) -> Converter:
        """The symbol's member."""
        members = {member.value: member for member in cls}

        def convert(value: Any) -> StrEnum:
            if not isinstance(value, str) or value not in members:
                raise self.fail(path, "must be one of the symbols")
            return members[value]

        return convert

    def fixed(self, path: str, size: int) -> Converter:  # noqa: ARG002  - the signature is the port's
        """The bytes; fastavro gives the default of a fixed as a str of the same code points."""
        return lambda value: value.encode("latin-1") if isinstance(value, str) else bytes(value)

    def number(self, path: str, size: int, precision: int) -> Converter:  # noqa: ARG002  - the signature is the port's
        """The number, also where it is beyond the decimal's precision."""
        as_bytes = self.fixed(path, size)
        return lambda value: int.from_bytes(as_bytes(value), "big", signed=True)

    def record(
        self,
        path: str,  # noqa: ARG002  - the signature is the port's
        cls: type[Any],
        converters: Mapping[str, Converter],
    ) -> Converter:
        """The dataclass; fields that only the writer's schema has are not there any more."""
        columns = tuple((field.name, converters[field.name]) for field in dataclass_fields(cls))
        return lambda value: cls(**{name: column(value[name]) for name, column in columns})
