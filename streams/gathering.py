"""Records of a poll gathered into few Faust messages: Faust's cost is a message's, whatever it holds.

A gathered message stands for consecutive records of one partition, and has the offset of the last. Faust keeps group,
flow and assignment; positions come from PostgreSQL, so that what it commits is a measure of lag and nothing more.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from faust.types import TP
from faust.types.tuples import ConsumerMessage


class PolledRecord(Protocol):
    """A record as aiokafka gives it; `timestamp` is in ms since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    headers: Sequence[tuple[str, bytes]]
    key: bytes | None
    value: bytes | None


class Gathered(NamedTuple):
    """Consecutive records of one partition."""

    records: Sequence[PolledRecord]


class GatheredMessage(ConsumerMessage):
    """A Faust message without a value of its own, over the records it stands for."""

    def __init__(self, gathered: Gathered, tp: TP, generation_id: int) -> None:
        last = gathered.records[-1]
        super().__init__(
            last.topic, last.partition, last.offset, last.timestamp / 1000, 0, None, None, b"", None, 0, 0, tp,
            generation_id=generation_id,
        )  # fmt: skip
        self.records = gathered.records


@dataclass(slots=True)
class SingleRecord:
    """A record as the guard takes it; `timestamp` is in seconds since 1970."""

    topic: str
    partition: int
    offset: int
    timestamp: float
    headers: object
    key: bytes | None
    value: bytes | None


def gather(records: Sequence[PolledRecord], max_bytes: int) -> Iterator[Gathered]:
    """The records in order, in parts of at most `max_bytes` of values or one record."""
    start, size = 0, 0
    for place, record in enumerate(records):
        grown = size + len(record.value or b"")
        if grown > max_bytes and place > start:
            yield Gathered(records[start:place])
            start, grown = place, len(record.value or b"")
        size = grown
    if start < len(records):
        yield Gathered(records[start:])


def by_gathered_partition(events: Iterable[Any]) -> Mapping[TP, Sequence[PolledRecord]]:
    """The records of a `take_events` batch by partition, in offset order."""
    found: dict[TP, list[PolledRecord]] = {}
    for message in sorted((event.message for event in events), key=lambda message: message.offset):
        found.setdefault(message.tp, []).extend(message.records)
    return dict(sorted(found.items()))


def singles(records: Iterable[PolledRecord]) -> list[SingleRecord]:
    """The records one by one, as the guard takes them."""
    return [
        SingleRecord(r.topic, r.partition, r.offset, r.timestamp / 1000, r.headers, r.key, r.value) for r in records
    ]
