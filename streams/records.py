"""Owns how rows of the outbox become Kafka records: what is encoded, what is merged, what can never be sent."""

import dataclasses
from collections.abc import Iterable, Sequence
from functools import cache

from publishing.runtime.producer import MAX_RECORD_BYTES
from publishing.stores.outbox import OutboxRow
from schemas.avsc import latest, shipped_versions
from schemas.codec import encode
from schemas.convert import Converter, compile_converter
from schemas.errors import SchemaError
from schemas.intake import FromJson
from schemas.messages import SubscriberChanged
from topics.catalog import BY_NAME
from topics.model import Topic

# A frame of changes stays within what a shard applies in one step (design: frames of at most 500).
MAX_CHANGES = 500
# Headers and the record's own fields fit into this many bytes beside the value.
ENVELOPE_BYTES = 4_096


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A record to produce: ids are the outbox rows it carries, the first of them names it (ce_id)."""

    topic: Topic
    partition: int
    value: bytes
    ids: tuple[int, ...]
    ce_source: str
    traceparent: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Poison:
    """A row that can never be produced, and why."""

    row_id: int
    topic: str
    reason: str


class PoisonError(Exception):
    """The row can never be produced: it is set aside in the quarantine, and the other rows go on."""

    def __init__(self, reason: str) -> None:
        """Keep the reason, which quotes no value of the row."""
        super().__init__(reason)
        self.reason = reason


@cache
def _reader(message: str) -> Converter:
    return compile_converter(latest(shipped_versions())[message].schema, FromJson())


def _topic_of(row: OutboxRow, shards: int) -> Topic:
    topic = BY_NAME.get(row.topic)
    if topic is None or topic.message is None:
        raise PoisonError("unknown_topic")
    if not 0 <= row.partition < topic.partition_count(shards):
        raise PoisonError("unknown_partition")
    return topic


def _record(rows: Sequence[OutboxRow], topic: Topic, value: bytes) -> Record:
    first = rows[0]
    if len(value) > MAX_RECORD_BYTES - ENVELOPE_BYTES:
        raise PoisonError("too_large")
    return Record(
        topic=topic,
        partition=first.partition,
        value=value,
        ids=tuple(row.id for row in rows),
        ce_source=first.ce_source,
        traceparent=first.traceparent,
    )


class _Gathering:
    """Records in the order of their first rows; changes of one shard are gathered until a frame is full."""

    def __init__(self, shards: int) -> None:
        self._shards = shards
        self._open: dict[tuple[int, str], tuple[list[OutboxRow], SubscriberChanged]] = {}
        self.records: list[Record] = []

    def add(self, row: OutboxRow) -> None:
        topic = _topic_of(row, self._shards)
        if row.frame is not None:
            self.records.append(_record([row], topic, bytes(row.frame)))
            return
        try:
            assert topic.message is not None
            message = _reader(topic.message)(row.payload)
            value = encode(message)
        except SchemaError as error:
            raise PoisonError("not_encodable") from error
        if isinstance(message, SubscriberChanged):
            self._gather(row, message)
        else:
            self.records.append(_record([row], topic, value))

    def close(self) -> None:
        for place in list(self._open):
            self._close(place)

    def _gather(self, row: OutboxRow, message: SubscriberChanged) -> None:
        if message.shard != row.partition:
            raise PoisonError("shard_is_not_partition")
        place = (row.partition, row.ce_source)
        if place in self._open:
            rows, gathered = self._open[place]
            if len(gathered.changes) + len(message.changes) <= MAX_CHANGES:
                merged = SubscriberChanged(shard=message.shard, changes=(*gathered.changes, *message.changes))
                self._open[place] = ([*rows, row], merged)
                return
            self._close(place)
        self._open[place] = ([row], message)

    def _close(self, place: tuple[int, str]) -> None:
        rows, message = self._open.pop(place)
        self.records.append(_record(rows, BY_NAME[rows[0].topic], encode(message)))


def to_records(rows: Iterable[OutboxRow], shards: int) -> tuple[list[Record], list[Poison]]:
    """Turn rows, in the order of their ids, into records and poison; every row is in exactly one of them.

    Rows of one shard's changes are merged into frames of at most 500 changes in the order of the rows; a row that
    holds more stands alone.
    """
    gathering = _Gathering(shards)
    poison = []
    for row in rows:
        try:
            gathering.add(row)
        except PoisonError as error:
            poison.append(Poison(row.id, row.topic, error.reason))
    gathering.close()
    return gathering.records, poison
