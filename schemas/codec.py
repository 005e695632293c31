"""Payloads of Kafka records: Confluent framing (0x00, schema id as 4 bytes big-endian) around one Avro value."""

from __future__ import annotations

import io
from typing import Any, TypeVar

import fastavro
import msgspec

from schemas.avsc import latest, shipped_versions, without_logical_types
from schemas.convert import compile_converter
from schemas.directions import FromAvro, ToAvro
from schemas.errors import (
    MalformedPayloadError,
    PayloadTooLargeError,
    SchemaError,
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

_VERSIONS = shipped_versions()
_WRITERS = {one.schema_id: (one.message, fastavro.parse_schema(without_logical_types(one.schema))) for one in _VERSIONS}
_LATEST = latest(_VERSIONS)
_READERS = {name: _WRITERS[one.schema_id][1] for name, one in _LATEST.items()}
_TO_AVRO = {name: compile_converter(one.schema, ToAvro()) for name, one in _LATEST.items()}
_FROM_AVRO = {name: compile_converter(one.schema, FromAvro()) for name, one in _LATEST.items()}
_FROM_JSON = compile_converter(_LATEST["ContentSubmitted"].schema, FromJson())
_DECODER = msgspec.json.Decoder()


def prefix_of(schema_id: int) -> bytes:
    """The five bytes before the Avro value."""
    return b"\x00" + schema_id.to_bytes(4, "big")


def encode(message: Message) -> bytes:
    """The payload of a message; raises UnencodableMessageError, or PayloadTooLargeError above 1 MB."""
    name = type(message).__name__
    return write_value(name, _TO_AVRO[name](message))


def decode(payload: bytes, message_type: type[M]) -> M:
    """The message of a payload; raises SchemaError, after which the caller buries the record.

    Content may also be JSON: its first byte is `{`.
    """
    if message_type is ContentSubmitted and payload[:1] == b"{":
        return decode_json(payload)  # type: ignore[return-value]  # M is ContentSubmitted here
    value = read_value(payload, message_type)
    try:
        message: M = _FROM_AVRO[message_type.__name__](value)
    except SchemaError:
        raise
    except Exception as error:
        raise MalformedPayloadError("does not fit the message") from error
    return message


def decode_json(payload: bytes) -> ContentSubmitted:
    """Content from JSON bytes; raises MalformedPayloadError, whose `field` names the first field that is wrong."""
    _check_size(payload)
    try:
        document = _DECODER.decode(payload)
    except (msgspec.MsgspecError, RecursionError, ValueError) as error:
        raise MalformedPayloadError("is not JSON") from error
    message: ContentSubmitted = _FROM_JSON(document)
    return message


def write_value(name: str, value: dict[str, Any]) -> bytes:
    """The payload around a value in Avro's own types, written in the newest version of message `name`."""
    out = io.BytesIO()
    out.write(prefix_of(_LATEST[name].schema_id))
    try:
        fastavro.schemaless_writer(out, _READERS[name], value)
    except Exception as error:
        raise UnencodableMessageError("does not fit the schema") from error
    payload = out.getvalue()
    _check_size(payload)
    return payload


def read_value(payload: bytes, message_type: type[Message]) -> dict[str, Any]:
    """The value in Avro's own types (no dates, no decimals), resolved to the newest version; raises SchemaError."""
    _check_size(payload)
    name = message_type.__name__
    writer = _writer_of(payload, name)
    reader = _READERS[name]
    source = io.BytesIO(payload)
    source.seek(PREFIX_BYTES)
    try:
        value: Any = fastavro.schemaless_reader(source, writer, None if writer is reader else reader)
    except Exception as error:
        raise MalformedPayloadError("is no value of its schema") from error
    if source.tell() != len(payload):
        raise MalformedPayloadError("has bytes after its value")
    return dict(value)


def _writer_of(payload: bytes, name: str) -> Any:
    if len(payload) < PREFIX_BYTES or payload[0] != 0:
        raise MalformedPayloadError("does not start with a zero byte and a schema id")
    schema_id = int.from_bytes(payload[1:PREFIX_BYTES], "big")
    if schema_id not in _WRITERS:
        raise UnknownSchemaIdError(schema_id)
    found, writer = _WRITERS[schema_id]
    if found != name:
        raise WrongMessageError(name, found)
    return writer


def _check_size(payload: bytes) -> None:
    if not payload:
        raise MalformedPayloadError("is empty")
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise PayloadTooLargeError(len(payload), MAX_PAYLOAD_BYTES)
