"""Frames of other programs are counted: any Kafka client, any Avro writer, nothing but the published schema."""

import datetime as dt
import io
import json
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import avro.io
import avro.schema
import confluent_kafka
import pytest

import schemas
from publishing.runtime.clock import utc_now
from publishing.runtime.producer import full_name
from publishing.runtime.settings import Settings
from publishing.stores.offsets import Pool
from tests.fakes.streams_worker import eventually, stream_worker
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

SCHEMA = avro.schema.parse(Path(schemas.__file__).with_name("EngagementRecorded.1.avsc").read_text(encoding="utf-8"))
SCHEMA_IDS: dict[str, int] = json.loads(Path(schemas.__file__).with_name("ids.json").read_text(encoding="utf-8"))
NUMBERS = ("rule", "arm", "flags", "run_id", "publication_id", "channel_id", "destination", "content_id", "link")


def event(kind: str, at: dt.datetime, **numbers: int) -> dict[str, Any]:
    """One event as the schema describes it; numbers that are not named are 0."""
    return {
        "event_id": bytes(16),
        "occurred_at": at,
        "kind": kind,
        "verdict": "human",
        "agent": "browser",
        "network": "unknown",
        **{name: Decimal(numbers.get(name, 0)) for name in NUMBERS},
    }


def framed(events: list[dict[str, Any]], at: dt.datetime) -> bytes:
    """A frame in the Confluent wire format by Apache's own Avro writer: 0x00, the schema's id, the body."""
    body = io.BytesIO()
    row = {"recorded_by": "another-program", "recorded_at": at, "events": events}
    avro.io.DatumWriter(SCHEMA).write(row, avro.io.BinaryEncoder(body))
    return b"\x00" + SCHEMA_IDS[ENGAGEMENT_RECORDED.name].to_bytes(4, "big") + body.getvalue()


def produce(settings: Settings, value: bytes, partition: int) -> None:
    """Send a record by librdkafka, without any of our headers."""
    failures: list[Any] = []
    producer = confluent_kafka.Producer({"bootstrap.servers": settings.kafka})
    topic = full_name(settings, ENGAGEMENT_RECORDED)
    producer.produce(topic, value, partition=partition, on_delivery=lambda error, _: failures.append(error))
    assert producer.flush(20) == 0
    assert failures == [None]


async def test_a_frame_by_another_client_is_counted(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: Callable[..., Awaitable[None]]
) -> None:
    """Frames of one event and of two, by confluent-kafka and Apache Avro, stand in the windows with their numbers."""
    await make_topics(ENGAGEMENT_RECORDED)
    at = utc_now().replace(microsecond=0)
    known = {"run_id": 7, "publication_id": 12, "channel_id": 3}
    produce(settings, framed([event("opened", at, destination=41, **known)], at), 41 % 4)
    pair = [event("clicked", at, destination=42, content_id=9, link=1, **known), event("accepted", at, **known)]
    produce(settings, framed(pair, at), 42 % 4)
    sql = """SELECT kind, run_id, publication_id, channel_id, total, uniques FROM publishing_analytics
        WHERE grain = 'minute' ORDER BY kind"""
    expected = [("accepted", 7, 12, 3, 1, 0), ("clicked", 7, 12, 3, 1, 1), ("opened", 7, 12, 3, 1, 1)]
    async with stream_worker(("-m", "streams.engagement"), environment):

        async def is_counted() -> bool:
            return [tuple(row) for row in await pool.fetch(sql)] == expected

        await eventually(is_counted, what="the three events are counted")
