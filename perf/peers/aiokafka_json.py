"""The peer that one writes by hand: aiokafka's getmany, JSON an event, folded and applied by the product's own SQL."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Sequence

import numpy as np
from aiokafka import AIOKafkaConsumer, ConsumerRecord

from perf.streaming.mix import NUMBERS
from publishing.domain.windows import NO_WATERMARK, Frame, fold
from publishing.runtime.database import open_pool
from publishing.runtime.settings import load_settings
from publishing.stores.engagement import Advance, apply_engagement
from publishing.stores.offsets import Place, Pool
from schemas.frames import KIND_INDEX, VERDICT_INDEX, new_events
from schemas.messages import EngagementKind, Verdict
from topics.catalog import ENGAGEMENT_RECORDED

CONSUMER = "engagement"
KINDS = {kind.value: number for kind, number in KIND_INDEX.items()}
VERDICTS = {verdict.value: number for verdict, number in VERDICT_INDEX.items()}
assert EngagementKind.OPENED.value in KINDS
assert Verdict.HUMAN.value in VERDICTS


def frame_of(records: Sequence[ConsumerRecord]) -> Frame:
    """The JSON records of one partition as a frame."""
    rows = [json.loads(record.value) for record in records]
    events = new_events(len(rows))
    for name in NUMBERS:
        events[name] = [row[name] for row in rows]
    ids = b"".join(bytes.fromhex(row["event_id"]) for row in rows)
    events["event_id"] = np.frombuffer(ids, np.uint8).reshape(len(rows), 16)
    events["kind"] = [KINDS[row["kind"]] for row in rows]
    events["verdict"] = [VERDICTS[row["verdict"]] for row in rows]
    return Frame(events, records[-1].timestamp, records[-1].timestamp)


async def consume(count: int, pool: Pool, consumer: AIOKafkaConsumer) -> None:
    """Apply the topic's records until the count is reached."""
    marks: dict[int, int] = {}
    seen, reported = 0, False
    while seen < count:
        for place, records in (await consumer.getmany(timeout_ms=500, max_records=5_000)).items():
            folded = fold([frame_of(records)], marks.get(place.partition, NO_WATERMARK))
            advance = Advance(
                CONSUMER,
                Place(ENGAGEMENT_RECORDED.name, place.partition),
                records[0].offset,
                records[-1].offset + 1,
            )
            if not (await apply_engagement(pool, advance, folded)).is_held:
                raise SystemExit("another consumer advanced the fence")
            marks[place.partition] = folded.watermark_ms
            seen += len(records)
            if seen >= count or (seen >= count // 10 and not reported):
                reported = True
                print(f"SEEN {seen} {time.process_time():.3f}", flush=True)


async def main() -> None:
    """Counts the events of a topic into the database that the environment names."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    settings = load_settings("database_url")
    consumer = AIOKafkaConsumer(
        given.topic,
        bootstrap_servers=given.kafka,
        group_id=f"{given.topic}-aiokafka",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    await consumer.start()
    try:
        async with await open_pool(settings, process="peer") as pool:
            await consume(given.count, pool, consumer)
    finally:
        await consumer.stop()


if __name__ == "__main__":
    asyncio.run(main())
