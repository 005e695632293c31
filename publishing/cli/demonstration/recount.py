"""An independent recount: a generic Avro reader with nothing but the published schema, and Counters."""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import fastavro
from aiokafka import AIOKafkaConsumer, ConsumerRecord, TopicPartition

import schemas
from publishing.runtime.correlation import header

SCHEMA_FILE: Final = Path(schemas.__file__).with_name("EngagementRecorded.1.avsc")
FRAMING_BYTES: Final = 5  # 0x00 and the schema id, Confluent wire format
READER_KINDS: Final = frozenset({"opened", "clicked", "unsubscribed", "complained"})
LEDGER: Final = "tidewire/"
FROM_OUTSIDE: Final = 1  # bit 0 of `flags`: the id is to be deduplicated
QUIET_MS: Final = 500

Key = tuple[str, datetime, int, int, int, int, str, str]


@dataclass(slots=True)
class Recount:
    """Totals and uniques by cell, and how many events were read."""

    totals: Counter[Key] = field(default_factory=Counter)
    uniques: Counter[Key] = field(default_factory=Counter)
    events: int = 0
    repeated: int = 0
    _ids: set[bytes] = field(default_factory=set)
    _touched: set[tuple[Any, ...]] = field(default_factory=set)

    def add_frame(self, frame: dict[str, Any], *, source: str | None, number: str | None) -> None:
        """Count a decoded frame; one of the ledger that was sent twice counts once."""
        if source is not None and source.startswith(LEDGER):
            name = hashlib.sha256(f"{source} {number}".encode()).digest()
            if self._is_repeated(name):
                return
        for event in frame["events"]:
            if int(event["flags"]) & FROM_OUTSIDE and self._is_repeated(event["event_id"]):
                continue
            self._add_event(event)

    def _is_repeated(self, name: bytes) -> bool:
        repeated = name in self._ids
        self._ids.add(name)
        self.repeated += repeated
        return repeated

    def _add_event(self, event: dict[str, Any]) -> None:
        self.events += 1
        kind, verdict = event["kind"], event["verdict"]
        where = tuple(int(event[name]) for name in ("publication_id", "run_id", "channel_id", "arm"))
        touch = (where[1], where[2], int(event["destination"]), kind, verdict == "human")
        is_first = kind in READER_KINDS and touch not in self._touched
        self._touched.add(touch)
        for grain, start in windows_of(event["occurred_at"]):
            key: Key = (grain, start, where[0], where[1], where[2], where[3], kind, verdict)
            self.totals[key] += 1
            self.uniques[key] += is_first


def windows_of(moment: datetime) -> Iterator[tuple[str, datetime]]:
    """The minute, hour and day (UTC) that a moment falls in."""
    minute = moment.astimezone(UTC).replace(second=0, microsecond=0)
    yield "minute", minute
    yield "hour", minute.replace(minute=0)
    yield "day", minute.replace(minute=0, hour=0)


async def read_all(kafka: str, topic: str, partitions: int) -> list[ConsumerRecord]:
    """Every record of a topic, each partition in its order; topic is the full name on the broker."""
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        max_partition_fetch_bytes=8 << 20,
    )
    await consumer.start()
    try:
        places = [TopicPartition(topic, number) for number in range(partitions)]
        ends = await consumer.end_offsets(places)
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        found: list[ConsumerRecord] = []
        while any([await consumer.position(place) < ends[place] for place in places]):
            batches = await consumer.getmany(timeout_ms=QUIET_MS)
            found.extend(record for records in batches.values() for record in records)
        return found
    finally:
        await consumer.stop()


async def recount(kafka: str, topic: str, partitions: int) -> Recount:
    """Recount every cell from the log of engagement."""
    schema = fastavro.parse_schema(json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    counted = Recount()
    for record in await read_all(kafka, topic, partitions):
        frame = fastavro.schemaless_reader(io.BytesIO(record.value[FRAMING_BYTES:]), schema, None)
        assert isinstance(frame, dict)
        counted.add_frame(frame, source=header(record.headers, "ce_source"), number=header(record.headers, "ce_id"))
    return counted
