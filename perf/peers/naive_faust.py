"""The peer that Faust's own manual leads to: a Record an event, counted in a tumbling table; nothing is stored."""

from __future__ import annotations

import argparse
import time

import faust


class Event(faust.Record, serializer="json"):
    """One engagement event."""

    occurred_at: int
    publication_id: int
    channel_id: int
    kind: str


def main() -> None:
    """Counts the events of a topic; prints its CPU-seconds at a tenth and at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    given = parser.parse_args()
    app = faust.App(
        f"{given.topic}-naive",
        broker=f"kafka://{given.kafka}",
        store="memory://",
        topic_partitions=given.partitions,
        consumer_auto_offset_reset="earliest",
        web_enabled=False,
        worker_redirect_stdouts=False,
    )
    topic = app.topic(given.topic, value_type=Event)
    minutes = app.Table("minutes", default=int, partitions=given.partitions).tumbling(60.0, expires=7200.0)
    seen = 0

    @app.agent(topic)
    async def count(stream: faust.StreamT[Event]) -> None:
        nonlocal seen
        async for event in stream:
            minutes[f"{event.publication_id}/{event.channel_id}/{event.kind}"] += 1
            seen += 1
            if seen in (given.count // 10, given.count):
                print(f"SEEN {seen} {time.process_time():.3f}", flush=True)

    faust.Worker(app, loglevel="warn").execute_from_commandline()


if __name__ == "__main__":
    main()
