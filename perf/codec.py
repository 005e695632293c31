"""Engagement events through the codec: frames of 200 beside fastavro with one record an event (CPU time, both ways)."""

from __future__ import annotations

import io
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import fastavro
import numpy as np

from schemas.avsc import latest, shipped_versions
from schemas.codec import PREFIX_BYTES, prefix_of
from schemas.frames import (
    AGENTS,
    KINDS,
    NETWORKS,
    VERDICTS,
    Events,
    decode_frame,
    encode_frame,
    new_events,
)
from schemas.messages import EngagementRecorded

EVENTS_PER_FRAME = 200
ROUND_FRAMES = 50
PAIRS = 7
AT_LEAST, AIM = 5.0, 20.0

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
AT_MS = 1_767_603_600_000
PREFIX = prefix_of(EngagementRecorded.schema_id)
SYMBOLS = {"kind": KINDS, "verdict": VERDICTS, "agent": AGENTS, "network": NETWORKS}
OPAQUE = ("event_id", "occurred_at", *SYMBOLS)


def made_up_events(seed: int) -> Events:
    """Events as a collector would record them, the same for the same seed."""
    random = np.random.default_rng(seed)
    events = new_events(EVENTS_PER_FRAME)
    events["event_id"] = random.integers(0, 256, (EVENTS_PER_FRAME, 16))
    events["occurred_at"] = AT_MS + random.integers(0, 60_000, EVENTS_PER_FRAME)
    for field, symbols in SYMBOLS.items():
        events[field] = random.integers(0, len(symbols), EVENTS_PER_FRAME)
    events["run_id"], events["publication_id"], events["channel_id"], events["arm"] = 77, 12, 3, 1
    events["destination"] = random.integers(1, 10**6, EVENTS_PER_FRAME)
    events["content_id"] = random.integers(1, 10**5, EVENTS_PER_FRAME)
    events["link"] = random.integers(0, 20, EVENTS_PER_FRAME)
    return events


def published_schema() -> dict[str, Any]:
    """The record of one event, as it is in the schema file."""
    schema = latest(shipped_versions())["EngagementRecorded"].schema
    (events,) = (field["type"]["items"] for field in schema["fields"] if field["name"] == "events")
    return {**events, "namespace": "published"}


def plain_schema() -> dict[str, Any]:
    """The same event with numbers as long: what one would write by hand for one record an event."""
    schema = published_schema()
    fields = [
        field if field["name"] in OPAQUE else {"name": field["name"], "type": "long"} for field in schema["fields"]
    ]
    return {**schema, "namespace": "plain", "fields": fields}


def rows_of(frames: list[Events], number: Callable[[int], Any]) -> list[dict[str, Any]]:
    """The events as fastavro takes and gives them."""
    rows = []
    for event in np.concatenate(frames):
        row: dict[str, Any] = {name: number(int(event[name])) for name in event.dtype.names or () if name not in OPAQUE}
        row |= {name: str(symbols[event[name]]) for name, symbols in SYMBOLS.items()}
        row["event_id"] = event["event_id"].tobytes()
        row["occurred_at"] = EPOCH + timedelta(milliseconds=int(event["occurred_at"]))
        rows.append(row)
    return rows


def by_frames(frames: list[Events]) -> Callable[[], list[Events]]:
    """Ours: one payload a frame."""
    return lambda: [decode_frame(encode_frame("bench", AT_MS, events)).events for events in frames]


def by_records(schema: dict[str, Any], rows: list[dict[str, Any]]) -> Callable[[], list[Any]]:
    """The peer: one payload an event, framed as ours."""
    parsed = fastavro.parse_schema(schema)

    def both_ways(row: dict[str, Any]) -> Any:
        out = io.BytesIO()
        out.write(PREFIX)
        fastavro.schemaless_writer(out, parsed, row)
        source = io.BytesIO(out.getvalue())
        source.seek(PREFIX_BYTES)
        return fastavro.schemaless_reader(source, parsed, None)

    return lambda: [both_ways(row) for row in rows]


def cpu_us(run: Callable[[], list[Any]], truth: list[Any]) -> float:
    """CPU time of an event there and back, microseconds; a wrong result ends the bench."""
    start_s = time.process_time()
    results = run()
    used_s = time.process_time() - start_s
    if not all(map(np.array_equal, results, truth) if isinstance(truth[0], np.ndarray) else [results == truth]):
        sys.exit("the events that came back are not those that were sent")
    return used_s / (ROUND_FRAMES * EVENTS_PER_FRAME) * 1e6


def main() -> int:
    """Runs the pairs and prints the figures; exit code 1 below AT_LEAST."""
    frames = [made_up_events(seed) for seed in range(ROUND_FRAMES)]
    ours = by_frames(frames)
    contestants = {
        "fastavro, a record an event, numbers as long": (plain_schema(), rows_of(frames, int)),
        "fastavro, a record an event, published schema": (published_schema(), rows_of(frames, Decimal)),
    }
    peers = {name: (by_records(schema, rows), rows) for name, (schema, rows) in contestants.items()}
    cpu_us(ours, frames)  # the first round pays for caches
    pairs = [(cpu_us(ours, frames), {name: cpu_us(*peer) for name, peer in peers.items()}) for _ in range(PAIRS)]
    ratios = {name: sorted(theirs[name] / mine for mine, theirs in pairs) for name in peers}
    least = min(ratios.values(), key=lambda values: values[PAIRS // 2])
    summary = {
        "bench": "codec",
        "unit": "us of CPU an event, encoded and decoded",
        "ours": round(median([mine for mine, _ in pairs]), 3),
        "beside": {name: round(median([theirs[name] for _, theirs in pairs]), 3) for name in peers},
        "ratio": {name: round(median(values), 1) for name, values in ratios.items()},
        "pairs": PAIRS,
        "spread": [round(least[0], 1), round(least[-1], 1)],
        "checked": True,
        "at_least": AT_LEAST,
        "aim": AIM,
    }
    print(f"frames of {EVENTS_PER_FRAME}: {summary['ours']} us an event")
    for name in peers:
        print(f"{name}: {median([theirs[name] for _, theirs in pairs]):.1f} us, {median(ratios[name]):.1f} times ours")
    print(json.dumps(summary))
    return 0 if median(least) >= AT_LEAST else 1


def median(values: list[float]) -> float:
    """The middle value of an odd number of them."""
    return sorted(values)[len(values) // 2]


if __name__ == "__main__":
    sys.exit(main())
