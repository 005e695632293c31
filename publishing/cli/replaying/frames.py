"""Engagement frames as any Avro reader sees them: the published schema, fastavro, and plain dictionaries."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

import fastavro

from schemas.avsc import latest, shipped_versions, without_logical_types

MESSAGE: Final = "EngagementRecorded"
FRAMING_BYTES: Final = 5
"""0x00 and the schema id (Confluent wire format)."""

MAX_BYTES: Final = 1_000_000
MIN_MS: Final = -62_135_596_800_000
"""0001-01-01, in ms since 1970."""

MAX_MS: Final = 253_402_300_799_999
"""9999-12-31."""


class FrameReader:
    """Reads every published version of the frame as the newest; numbers stay bytes, as logical types cost 7 times."""

    def __init__(self) -> None:
        versions = [one for one in shipped_versions() if one.message == MESSAGE]
        newest = latest(versions)[MESSAGE]
        parsed = {one.schema_id: fastavro.parse_schema(without_logical_types(one.schema)) for one in versions}
        self._writers: Mapping[int, Any] = parsed
        self._newest = newest.schema_id

    def read(self, payload: bytes | None) -> Mapping[str, Any] | None:
        """The frame of a record's value; None for poison, which the engagement app buries and counts nowhere."""
        if payload is None or not FRAMING_BYTES <= len(payload) <= MAX_BYTES or payload[0] != 0:
            return None
        schema_id = int.from_bytes(payload[1:FRAMING_BYTES], "big")
        if schema_id not in self._writers:
            return None
        source = io.BytesIO(payload)
        source.seek(FRAMING_BYTES)
        reader = None if schema_id == self._newest else self._writers[self._newest]
        try:
            frame: Any = fastavro.schemaless_reader(source, self._writers[schema_id], reader)
        except Exception:  # noqa: BLE001  - whatever the reader says of broken bytes, the record is poison
            return None
        return frame if source.tell() == len(payload) and _is_sound(frame) else None


def _is_sound(frame: Mapping[str, Any]) -> bool:
    times = [event["occurred_at"] for event in frame["events"]]
    times.append(frame["recorded_at"])
    return "\x00" not in frame["recorded_by"] and min(times) >= MIN_MS and max(times) <= MAX_MS
