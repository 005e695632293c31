"""Every example of every message version is what its schema and the codec say."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import fastavro
import pytest

from schemas.avsc import FOLDER, MessageVersion, latest, shipped_versions
from schemas.codec import PREFIX_BYTES, decode, decode_json, encode, prefix_of
from schemas.convert import compile_converter
from schemas.frames import decode_frame, encode_frame
from schemas.intake import FromJson
from schemas.messages import MESSAGES, EngagementRecorded, Message

pytestmark = pytest.mark.contract

VERSIONS = shipped_versions()
EXAMPLES = sorted((FOLDER / "examples").glob("*.json"))


def name_of(version: MessageVersion) -> str:
    """The file name's stem: message and version."""
    return f"{version.message}.{version.version}"


def example_of(version: MessageVersion) -> Any:
    """The example's JSON."""
    return json.loads((FOLDER / "examples" / f"{name_of(version)}.json").read_text(encoding="utf-8"))


def message_of(version: MessageVersion) -> Message:
    """The example as the dataclass of its message."""
    message: Message = compile_converter(version.schema, FromJson())(example_of(version))
    return message


def test_every_version_has_an_example_and_every_example_a_version() -> None:
    """Nobody has to guess what a message looks like."""
    assert [path.stem for path in EXAMPLES] == [name_of(version) for version in VERSIONS]


@pytest.mark.parametrize("version", VERSIONS, ids=name_of)
def test_an_example_names_every_field(version: MessageVersion) -> None:
    """An example leaves nothing to defaults."""
    assert sorted(example_of(version)) == sorted(field["name"] for field in version.schema["fields"])


@pytest.mark.parametrize("version", latest(VERSIONS).values(), ids=name_of)
def test_an_example_of_the_newest_version_round_trips(version: MessageVersion) -> None:
    """What is encoded decodes to the same message, under the id of the version."""
    message = message_of(version)
    payload = encode(message)
    assert payload.startswith(prefix_of(version.schema_id))
    assert decode(payload, MESSAGES[version.message]) == message


@pytest.mark.parametrize("version", VERSIONS, ids=name_of)
def test_a_record_of_any_version_is_read_as_the_newest(version: MessageVersion) -> None:
    """Readers of today read what writers of any day wrote."""
    out = io.BytesIO()
    out.write(prefix_of(version.schema_id))
    schema = fastavro.parse_schema(version.schema)
    fastavro.schemaless_writer(out, schema, typed(example_of(version), version.schema, {}))
    assert isinstance(decode(out.getvalue(), MESSAGES[version.message]), MESSAGES[version.message])


@pytest.mark.parametrize("version", latest(VERSIONS).values(), ids=name_of)
def test_fastavro_reads_our_bytes_with_the_file_alone(version: MessageVersion) -> None:
    """A generic reader needs nothing but the .avsc, and shows the numbers and times of the example."""
    payload = encode(message_of(version))
    schema = fastavro.parse_schema(version.schema)
    read = fastavro.schemaless_reader(io.BytesIO(payload[PREFIX_BYTES:]), schema, None)
    assert read == typed(example_of(version), version.schema, {})


@pytest.mark.parametrize("version", latest(VERSIONS).values(), ids=name_of)
def test_the_avro_package_reads_our_bytes_with_the_file_alone(version: MessageVersion) -> None:
    """The reference implementation agrees."""
    payload = encode(message_of(version))
    schema = avro.schema.parse(json.dumps(version.schema))
    decoder = avro.io.BinaryDecoder(io.BytesIO(payload[PREFIX_BYTES:]))
    read = avro.io.DatumReader(schema).read(decoder)
    assert read == typed(example_of(version), version.schema, {})


def test_the_avro_package_reads_a_numpy_frame() -> None:
    """Constant-stride frames are ordinary Avro."""
    version = latest(VERSIONS)["EngagementRecorded"]
    frame = decode_frame(encode(message_of(version)))
    payload = encode_frame(frame.recorded_by, frame.recorded_at_ms, frame.events)
    assert payload == encode(message_of(version))
    decoder = avro.io.BinaryDecoder(io.BytesIO(payload[PREFIX_BYTES:]))
    read: Any = avro.io.DatumReader(avro.schema.parse(json.dumps(version.schema))).read(decoder)
    assert [event["destination"] for event in read["events"]] == frame.events["destination"].tolist()
    assert len(decode(payload, EngagementRecorded).events) == 2


def test_the_content_example_is_what_a_producer_may_send() -> None:
    """Producers send the example's bytes as they are."""
    path: Path = FOLDER / "examples" / "ContentSubmitted.1.json"
    assert decode_json(path.read_bytes().strip()) == message_of(latest(VERSIONS)["ContentSubmitted"])


def typed(value: Any, schema: Any, named: dict[str, Any]) -> Any:
    """An example's JSON value as generic Avro readers give it; written apart from the codec, to judge it."""
    from datetime import datetime

    if isinstance(schema, list):
        (branch,) = (part for part in schema if part != "null")
        return None if value is None else typed(value, branch, named)
    if isinstance(schema, str):
        schema = named.get(schema, {"type": schema})
    if "name" in schema:
        named[schema["name"]] = schema
    if schema["type"] == "record":
        return {field["name"]: typed(value[field["name"]], field["type"], named) for field in schema["fields"]}
    if schema["type"] == "array":
        return [typed(item, schema["items"], named) for item in value]
    if schema.get("logicalType") == "decimal":
        return Decimal(value)
    if schema.get("logicalType") == "timestamp-millis":
        return datetime.fromisoformat(value)
    return bytes.fromhex(value) if schema["type"] == "fixed" else value
