"""The errors of payloads and messages; `reason` is the machine word that a DLQ record carries."""

from __future__ import annotations

from typing import ClassVar


class SchemaError(Exception):
    """A payload or message does not fit its schema; bury the record in the DLQ or mend its producer."""

    reason: ClassVar[str] = "schema"

    def __str__(self) -> str:
        """The docstring with the attributes; never a value of the payload."""
        known = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if value not in ("", None))
        sentence = (type(self).__doc__ or "").partition("\n")[0]
        return f"{sentence} ({known})" if known else sentence


class UnknownSchemaIdError(SchemaError):
    """No schema has this id; deploy the readers of a new schema version before its writers."""

    reason: ClassVar[str] = "unknown_schema_id"

    def __init__(self, schema_id: int) -> None:
        super().__init__(schema_id)
        self.schema_id = schema_id


class WrongMessageError(SchemaError):
    """The schema id belongs to another message than this topic carries; mend the producer."""

    reason: ClassVar[str] = "wrong_message"

    def __init__(self, expected: str, found: str) -> None:
        super().__init__(expected, found)
        self.expected = expected
        self.found = found


class MalformedPayloadError(SchemaError):
    """The bytes are not what the schema says; bury the record and mend its producer."""

    reason: ClassVar[str] = "malformed"

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail, field)
        self.field = field
        self.detail = detail


class PayloadTooLargeError(MalformedPayloadError):
    """The payload is above the limit of a record; send less in one record."""

    reason: ClassVar[str] = "too_large"

    def __init__(self, size_bytes: int, max_bytes: int) -> None:
        super().__init__("is too large")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class UnencodableMessageError(SchemaError):
    """A value of the message does not fit its schema; check it where the message is made."""

    reason: ClassVar[str] = "unencodable"

    def __init__(self, detail: str, *, field: str = "") -> None:
        super().__init__(detail, field)
        self.field = field
        self.detail = detail


class FrameRangeError(SchemaError):
    """A number of an event does not fit its fixed width; check it where the event is made."""

    reason: ClassVar[str] = "frame_range"

    def __init__(self, field: str, low: int, high: int) -> None:
        super().__init__(field, low, high)
        self.field = field
        self.low = low
        self.high = high


class SchemaFileError(SchemaError):
    """A file of schemas/ breaks the rules; mend the file as the detail says and run the generator again."""

    reason: ClassVar[str] = "schema_file"

    def __init__(self, file: str, field: str, detail: str) -> None:
        super().__init__(file, field, detail)
        self.file = file
        self.field = field
        self.detail = detail
