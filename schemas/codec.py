"""Payloads of Kafka records: Confluent framing (0x00, schema id as 4 bytes big-endian) around one Avro value."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any, TypeVar, cast

import fastavro
import msgspec

from schemas.avsc import MessageVersion, latest, shipped_versions, without_logical_types
from schemas.convert import compile_converter
from schemas.directions import FromAvro, ToAvro
from schemas.errors import (
    MalformedPayloadError,
    PayloadTooLargeError,
    UnencodableMessageError,
    UnknownSchemaIdError,
    WrongMessageError,
)
from schemas.intake import FromJson
from schemas.messages import ContentSubmitted, Message

M = TypeVar("M", bound=Message)

MAX_PAYLOAD_BYTES = 1_000_000
"""A record's value; below `message.max.bytes` of a broker (1,048,588 by default, Kafka broker configs)."""

PREFIX_BYTES = 5
"""Magic byte and schema id (Confluent wire format)."""

_FROM_JSON = compile_converter(latest(shipped_versions())["ContentSubmitted"].schema, FromJson())
_DECODER = msgspec.json.Decoder()


class Codec:
    """Reads every version that it is given, and writes the newest of each message."""

    def __init__(self, versions: Iterable[MessageVersion]) -> None:
        versions = tuple(versions)
        newest = latest(versions)
        parsed = {one.schema_id: fastavro.parse_schema(without_logical_types(one.schema)) for one in versions}
        self._writers = {one.schema_id: (one.message, parsed[one.schema_id]) for one in versions}
        self._prefixes = {name: prefix_of(one.schema_id) for name, one in newest.items()}
        self._readers = {name: parsed[one.schema_id] for name, one in newest.items()}
        self._to_avro = {name: compile_converter(one.schema, ToAvro()) for name, one in newest.items()}
        self._from_avro = {name: compile_converter(one.schema, FromAvro()) for name, one in newest.items()}

    def encode(self, message: Message) -> bytes:
        """The payload of a message; raises UnencodableMessageError, or PayloadTooLargeError above 1 MB."""
        name = type(message).__name__
        return self.write_value(name, self._to_avro[name](message))

    def decode(self, payload: bytes, message_type: type[M]) -> M:
        """The message of a payload; raises SchemaError, after which the caller buries the record.

        Content may also be JSON: its first byte is `{`.
        """
        if message_type is ContentSubmitted and payload[:1] == b"{":
            return cast("M", decode_json(payload))
        value = self.read_value(payload, message_type)
        return cast("M", self._from_avro[message_type.__name__](value))

    def write_value(self, name: str, value: dict[str, Any]) -> bytes:
        """The payload around a value in Avro's own types, written in the newest version of message `name`."""
        out = io.BytesIO()
        out.write(self._prefixes[name])
        try:
            fastavro.schemaless_writer(out, self._readers[name], value)
        except Exception as error:
            raise UnencodableMessageError("does not fit the schema") from error
        payload = out.getvalue()
        _check_size(payload)
        return payload

    def read_value(self, payload: bytes, message_type: type[Message]) -> dict[str, Any]:
        """The value in Avro's own types (no dates, no decimals), resolved to the newest version; raises SchemaError."""
        _check_size(payload)
        name = message_type.__name__
        writer = self._writer_of(payload, name)
        reader = self._readers[name]
        source = io.BytesIO(payload)
        source.seek(PREFIX_BYTES)
        try:
            value: Any = fastavro.schemaless_reader(source, writer, None if writer is reader else reader)
        except Exception as error:
            raise MalformedPayloadError("is no value of its schema") from error
        if source.tell() != len(payload):
            raise MalformedPayloadError("has bytes after its value")
        return dict(value)

    def _writer_of(self, payload: bytes, name: str) -> Any:
        if len(payload) < PREFIX_BYTES or payload[0] != 0:
            raise MalformedPayloadError("does not start with a zero byte and a schema id")
        schema_id = int.from_bytes(payload[1:PREFIX_BYTES], "big")
        if schema_id not in self._writers:
            raise UnknownSchemaIdError(schema_id)
        found, writer = self._writers[schema_id]
        if found != name:
            raise WrongMessageError(name, found)
        return writer


def prefix_of(schema_id: int) -> bytes:
    """The five bytes before the Avro value."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def decode_json(payload: bytes) -> ContentSubmitted:
    """Content from JSON bytes; raises MalformedPayloadError, whose `field` names the first field that is wrong."""
    _check_size(payload)
    try:
        document = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MalformedPayloadError("is not JSON") from error
    return cast("ContentSubmitted", _FROM_JSON(document))


def _check_size(payload: bytes) -> None:
    if not payload:
        raise MalformedPayloadError("is empty")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(len(payload), MAX_PAYLOAD_BYTES)


SHIPPED = Codec(shipped_versions())
"""The codec of the shipped schema files."""

encode = SHIPPED.encode
decode = SHIPPED.decode
read_value = SHIPPED.read_value
write_value = SHIPPED.write_value
