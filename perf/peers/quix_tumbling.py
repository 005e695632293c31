"""The peer in another framework: Quix Streams' tumbling window over JSON events; run in an environment of its own."""

from __future__ import annotations

import argparse
import time
from datetime import timedelta
from typing import Any

from quixstreams import Application


def main() -> None:
    """Counts the events of a topic by minute; prints its CPU-seconds at a tenth and at the end."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--partitions", type=int, required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--state", required=True)
    given = parser.parse_args()
    app = Application(
        broker_address=given.kafka,
        consumer_group=f"{given.topic}-quix",
        auto_offset_reset="earliest",
        state_dir=given.state,
        loglevel="WARNING",
    )

    def occurred_at(value: Any, *_: Any) -> int:
        return int(value["occurred_at"])

    topic = app.topic(given.topic, value_deserializer="json", timestamp_extractor=occurred_at)
    seen = 0

    def count(_: Any) -> None:
        nonlocal seen
        seen += 1
        if seen in (given.count // 10, given.count):
            print(f"SEEN {seen} {time.process_time():.3f}", flush=True)

    app.dataframe(topic).tumbling_window(timedelta(minutes=1), grace_ms=300_000).count().current().update(count)
    app.run()


if __name__ == "__main__":
    main()
