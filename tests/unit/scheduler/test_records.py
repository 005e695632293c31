"""How rows of the outbox become records."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.runtime.producer import MAX_RECORD_BYTES
from publishing.stores.outbox import OutboxRow
from schemas.codec import decode
from schemas.messages import PublicationChanged, PublicationDue, SubscriberChanged
from streams.records import ENVELOPE_BYTES, MAX_CHANGES, to_records
from topics.catalog import ENGAGEMENT_RECORDED, PUBLICATION_CHANGED, PUBLICATION_DUE, SUBSCRIBER_CHANGED

pytestmark = pytest.mark.unit

SHARDS = 4


def _row(row_id: int, topic: str, payload: Any = None, *, partition: int = 0, frame: bytes | None = None) -> OutboxRow:
    return OutboxRow(
        id=row_id,
        topic=topic,
        partition=partition,
        frame=frame,
        payload=payload,
        ce_source="tests",
        traceparent=None,
    )


def _changes(row_id: int, count: int, *, shard: int = 0, first_seq: int = 1) -> OutboxRow:
    changes = [
        {"destination": seq * SHARDS + shard, "seq": seq, "version": 1} for seq in range(first_seq, first_seq + count)
    ]
    return _row(row_id, SUBSCRIBER_CHANGED.name, {"shard": shard, "changes": changes}, partition=shard)


DUE = {
    "run_id": 7,
    "publication_id": 3,
    "publication_version": 2,
    "shard": 1,
    "due_at": "2026-01-02T03:04:05.678+00:00",
    "deadline_at": None,
    "after_subscribers": 11,
    "after_content": 5,
}


def test_payload_becomes_the_message_of_its_topic() -> None:
    """A payload is encoded as its topic's message; ISO times keep their milliseconds."""
    records, poison = to_records([_row(1, PUBLICATION_DUE.name, DUE, partition=1)], SHARDS)
    assert poison == []
    message = decode(records[0].value, PublicationDue)
    assert (message.run_id, message.after_subscribers, message.after_content) == (7, 11, 5)
    assert message.due_at.isoformat() == "2026-01-02T03:04:05.678000+00:00"
    assert (records[0].topic, records[0].partition, records[0].ids) == (PUBLICATION_DUE, 1, (1,))


def test_frame_is_sent_as_it_is() -> None:
    """An encoded record is produced byte for byte."""
    records, _ = to_records([_row(1, ENGAGEMENT_RECORDED.name, frame=b"\x00\x01")], SHARDS)
    assert records[0].value == b"\x00\x01"


def test_changes_of_a_shard_are_merged_in_order() -> None:
    """Rows of one shard become one frame that keeps their order; other shards and topics stay apart."""
    rows = [
        _changes(1, 2, shard=0, first_seq=1),
        _changes(2, 1, shard=1, first_seq=1),
        _row(3, PUBLICATION_CHANGED.name, {"publication_id": 1, "version": 1, "status": "running"}),
        _changes(4, 2, shard=0, first_seq=3),
    ]
    records, _ = to_records(rows, SHARDS)
    frames = {
        record.ids: decode(record.value, SubscriberChanged) for record in records if record.topic is SUBSCRIBER_CHANGED
    }
    assert [change.seq for change in frames[1, 4].changes] == [1, 2, 3, 4]
    assert [change.seq for change in frames[(2,)].changes] == [1]
    assert decode(next(r for r in records if r.ids == (3,)).value, PublicationChanged).status == "running"


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 300), st.integers(0, SHARDS - 1)), max_size=12))
def test_merging_loses_and_repeats_nothing(sizes: list[tuple[int, int]]) -> None:
    """Every change is in exactly one frame of its shard, in order, and no frame holds more than 500."""
    reached = [0] * SHARDS
    rows = []
    for row_id, (count, shard) in enumerate(sizes, start=1):
        rows.append(_changes(row_id, count, shard=shard, first_seq=reached[shard] + 1))
        reached[shard] += count
    records, poison = to_records(rows, SHARDS)
    assert poison == []
    assert sorted(row_id for record in records for row_id in record.ids) == [row.id for row in rows]
    seqs: dict[int, list[int]] = {shard: [] for shard in range(SHARDS)}
    for record in records:
        frame = decode(record.value, SubscriberChanged)
        assert len(frame.changes) <= MAX_CHANGES
        assert record.partition == frame.shard
        seqs[frame.shard] += [change.seq for change in frame.changes]
    assert seqs == {shard: list(range(1, reached[shard] + 1)) for shard in range(SHARDS)}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (_row(9, "no.such.topic.v1", {}), "unknown_topic"),
        (_row(9, SUBSCRIBER_CHANGED.dlq.name, {}), "unknown_topic"),
        (_row(9, PUBLICATION_DUE.name, DUE, partition=SHARDS), "unknown_partition"),
        (_row(9, PUBLICATION_DUE.name, DUE, partition=-1), "unknown_partition"),
        (_row(9, PUBLICATION_DUE.name, {**DUE, "due_at": "yesterday"}), "not_encodable"),
        (_row(9, PUBLICATION_DUE.name, {**DUE, "extra": 1}), "not_encodable"),
        (_row(9, PUBLICATION_DUE.name, [1]), "not_encodable"),
        (_row(9, PUBLICATION_DUE.name, None), "not_encodable"),
        (_row(9, SUBSCRIBER_CHANGED.name, {"shard": 1, "changes": []}, partition=0), "shard_is_not_partition"),
        (_row(9, ENGAGEMENT_RECORDED.name, frame=bytes(MAX_RECORD_BYTES - ENVELOPE_BYTES + 1)), "too_large"),
    ],
)
def test_poison_is_set_aside_alone(row: OutboxRow, reason: str) -> None:
    """A row that can never be produced is named with its reason, and its neighbours become records."""
    records, poison = to_records([_changes(1, 1), row, _changes(10, 1, first_seq=2)], SHARDS)
    assert [(one.row_id, one.reason) for one in poison] == [(9, reason)]
    assert [record.ids for record in records] == [(1, 10)]
