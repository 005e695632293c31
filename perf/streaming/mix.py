"""The events of the stream benches: 60 % receipts, 30 % opens, 9 % clicks, 1 % what ends sending; one truth for all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from schemas.frames import AGENT_INDEX, KIND_INDEX, KINDS, VERDICT_INDEX, VERDICTS, Events, encode_frame, new_events
from schemas.messages import AgentFamily, EngagementKind, Verdict

SUBSCRIBERS, RUNS, CHANNELS = 100_000, 20, 4
# Two minutes of traffic, an hour before the log is written: nothing is late, nothing clamped.
SPAN_MS = 120_000
FROM_OUTSIDE = 1
RECEIPT_SHARE = 0.6

_RECEIPTS = (EngagementKind.ACCEPTED, EngagementKind.DELIVERED)
# Of what readers do: 30, 9 and 1 of 40; the rest carries ids from outside, as providers' callbacks do.
_READERS = ((EngagementKind.OPENED, 30), (EngagementKind.CLICKED, 9))
_REST = (EngagementKind.UNSUBSCRIBED, EngagementKind.BOUNCED, EngagementKind.COMPLAINED)


class Record(NamedTuple):
    """One record to produce: its partition, its value, its CloudEvents source and id, and a key where it has one."""

    partition: int
    value: bytes
    source: str
    number: str
    key: bytes | None = None


def made_up_events(count: int, *, shards: int, start_ms: int, seed: int) -> list[Events]:
    """Events of each shard in the order of time, receipts and hits apart by their kind; the same for the same seed."""
    chance = np.random.default_rng(seed)
    events = new_events(count)
    events["event_id"] = chance.integers(0, 256, (count, 16))
    events["occurred_at"] = start_ms + np.sort(chance.integers(0, SPAN_MS, count))
    is_receipt = chance.random(count) < RECEIPT_SHARE
    kinds = [KIND_INDEX[kind] for kind, _ in _READERS] + [KIND_INDEX[kind] for kind in _REST]
    weights = np.array([weight for _, weight in _READERS] + [1 / len(_REST)] * len(_REST))
    hits = chance.choice(kinds, count, p=weights / weights.sum())
    events["kind"] = np.where(is_receipt, chance.choice([KIND_INDEX[kind] for kind in _RECEIPTS], count), hits)
    is_rest = np.isin(events["kind"], [KIND_INDEX[kind] for kind in _REST])
    events["flags"] = np.where(is_rest, FROM_OUTSIDE, 0)
    human = chance.random(count) < 0.7
    judged = np.where(human, VERDICT_INDEX[Verdict.HUMAN], VERDICT_INDEX[Verdict.MACHINE])
    events["verdict"] = np.where(is_receipt | is_rest, VERDICT_INDEX[Verdict.UNKNOWN], judged)
    events["agent"] = np.where(is_receipt, 0, AGENT_INDEX[AgentFamily.BROWSER])
    events["run_id"] = chance.integers(1, RUNS + 1, count)
    events["publication_id"] = events["run_id"]
    events["channel_id"] = chance.integers(1, CHANNELS + 1, count)
    events["destination"] = chance.integers(1, SUBSCRIBERS + 1, count)
    events["content_id"] = np.where(events["kind"] == KIND_INDEX[EngagementKind.CLICKED], events["run_id"], 0)
    shard = events["destination"] % shards
    return [events[shard == number] for number in range(shards)]


def frames(of_shards: list[Events], events_per_frame: int, recorded_at_ms: int, *, name: str = "") -> Iterator[Record]:
    """The events as the product writes them: receipts in the ledger's frames, hits in the collector's.

    `name` begins every frame's id, which is counted once.
    """
    receipts = [KIND_INDEX[kind] for kind in _RECEIPTS]
    for shard, events in enumerate(of_shards):
        is_receipt = np.isin(events["kind"], receipts)
        for source, rows in (("tidewire/ledger/bench", events[is_receipt]), ("ingest_api/bench", events[~is_receipt])):
            for start in range(0, len(rows), events_per_frame):
                chunk = rows[start : start + events_per_frame]
                yield Record(shard, encode_frame("bench", recorded_at_ms, chunk), source, f"{name}-{shard}-{start}")


def lines(of_shards: list[Events]) -> Iterator[Record]:
    """The same events as one JSON object a record, as a peer without frames gets them."""
    for shard, events in enumerate(of_shards):
        for number, event in enumerate(events):
            row = {name: int(event[name]) for name in NUMBERS} | {
                "event_id": event["event_id"].tobytes().hex(),
                "kind": KINDS[event["kind"]].value,
                "verdict": VERDICTS[event["verdict"]].value,
            }
            key = f"{row['publication_id']}/{row['channel_id']}/{row['kind']}".encode()
            yield Record(shard, json.dumps(row, separators=(",", ":")).encode(), "bench", f"{shard}-{number}", key)


NUMBERS = ("occurred_at", "flags", "arm", "run_id", "publication_id", "channel_id", "destination", "content_id")
