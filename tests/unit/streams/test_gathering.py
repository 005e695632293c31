"""Gathered polls: every record once, in order, within the bytes; what is committed follows the newest part."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams.gathering import Gathered, GatheredMessage, by_gathered_partition, gather, singles

pytestmark = pytest.mark.unit


@dataclass
class Polled:
    """A record as aiokafka gives it."""

    offset: int
    value: bytes | None
    partition: int = 3
    topic: str = "t"
    timestamp: int = 1_500
    headers: Sequence[tuple[str, bytes]] = ()
    key: bytes | None = None


@dataclass
class Event:
    """A Faust event."""

    message: GatheredMessage


def message_of(records: list[Polled]) -> GatheredMessage:
    """A gathered message of records of one partition."""
    return GatheredMessage(Gathered(records), TP("t", records[0].partition), 7)


@given(sizes=st.lists(st.integers(0, 9) | st.none(), max_size=30), max_bytes=st.integers(1, 12))
def test_parts_hold_every_record_in_order_within_the_bytes(sizes: list[int | None], max_bytes: int) -> None:
    """A part is at most so many bytes, or one record; together they are the poll."""
    records = [Polled(n, None if size is None else bytes(size)) for n, size in enumerate(sizes)]
    parts = list(gather(records, max_bytes))
    assert [record for part in parts for record in part.records] == records
    for part in parts:
        assert part.records
        assert len(part.records) == 1 or sum(len(r.value or b"") for r in part.records) <= max_bytes
    for first, second in itertools.pairwise(parts):
        total = sum(len(r.value or b"") for r in first.records) + len(second.records[0].value or b"")
        assert total > max_bytes


def test_a_message_stands_for_its_last_record() -> None:
    """Its offset is what Faust acknowledges: the last one; the generation is kept."""
    message = message_of([Polled(4, b"a"), Polled(9, b"b")])
    assert (message.tp, message.offset, message.timestamp, message.value) == (TP("t", 3), 9, 1.5, b"")
    assert message.generation_id == 7
    assert [record.offset for record in message.records] == [4, 9]


def test_partitions_come_in_order_with_their_offsets_in_order() -> None:
    """However the parts of a batch came, each partition's records are in log order, partitions by number."""
    messages = [
        message_of([Polled(2, b"c")]),
        message_of([Polled(5, b"x", partition=1)]),
        message_of([Polled(0, b"a"), Polled(1, b"b")]),
    ]
    found = by_gathered_partition(Event(message) for message in messages)
    assert [(tp.partition, [r.offset for r in records]) for tp, records in found.items()] == [(1, [5]), (3, [0, 1, 2])]


def test_singles_have_seconds() -> None:
    """The guard's records count seconds, the poll's milliseconds."""
    (single,) = singles([Polled(2, b"c")])
    assert (single.offset, single.timestamp, single.value) == (2, 1.5, b"c")
