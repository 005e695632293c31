"""Reads content that producers push as JSON instead of Avro."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING
from dataclasses import fields as dataclass_fields
from datetime import datetime
from typing import Any

from schemas.convert import Converter
from schemas.directions import EPOCH, MILLISECOND, FromAvro


class FromJson(FromAvro):
    """JSON values to messages: unknown and missing fields are refused, times are ISO 8601 or epoch ms."""

    def timestamp(self, path: str) -> Converter:
        """ISO 8601 with an offset, or ms since 1970; what is below a millisecond is dropped."""
        from_ms = super().timestamp(path)

        def convert(value: Any) -> Any:
            if type(value) is int:
                return from_ms(value)
            if not isinstance(value, str):
                raise self.fail(path, "must be an ISO 8601 time or ms since 1970")
            try:
                moment = datetime.fromisoformat(value)
            except ValueError as error:
                raise self.fail(path, "must be an ISO 8601 time or ms since 1970") from error
            if moment.tzinfo is None:
                raise self.fail(path, "must have an offset from UTC")
            since_epoch_ms = (moment - EPOCH) // MILLISECOND
            return from_ms(since_epoch_ms)

        return convert

    def fixed(self, path: str, size: int) -> Converter:
        """Hexadecimal digits, two a byte."""

        def convert(value: Any) -> bytes:
            try:
                content = bytes.fromhex(value)
            except (TypeError, ValueError) as error:
                raise self.fail(path, "must be hexadecimal digits") from error
            if len(content) != size:
                raise self.fail(path, f"must be {size} bytes")
            return content

        return convert

    def number(self, path: str, size: int, precision: int) -> Converter:  # noqa: ARG002  - the signature is the port's
        """A whole number within the decimal's precision."""
        bound = 10**precision

        def convert(value: Any) -> int:
            if type(value) is not int or not -bound < value < bound:
                raise self.fail(path, f"must be a whole number of at most {precision} digits")
            return value

        return convert

    def record(self, path: str, cls: type[Any], converters: Mapping[str, Converter]) -> Converter:
        """The dataclass; a field that has a default may be missing."""
        prefix = f"{path}." if path else ""
        required = [
            field.name
            for field in dataclass_fields(cls)
            if field.default is MISSING and field.default_factory is MISSING
        ]

        def convert(value: Any) -> Any:
            if not isinstance(value, dict):
                raise self.fail(path, "must be an object")
            for name in value:
                if name not in converters:
                    raise self.fail(prefix + _shown(name), "is not a field of the message")
            for name in required:
                if name not in value:
                    raise self.fail(prefix + name, "is missing")
            return cls(**{name: converters[name](entry) for name, entry in value.items()})

        return convert


def _shown(name: str) -> str:
    """A foreign field name as far as it is safe in a log line: at most 40 word characters."""
    return "".join(letter if letter.isalnum() or letter in "_-" else "?" for letter in name[:40])
