"""Dead letters: a poison record goes alone to its topic's DLQ, raw, with where it was and why."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from aiokafka.errors import MessageSizeTooLargeError

from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from schemas.errors import SchemaError
from topics.catalog import BY_NAME

HEADERS = ("source_topic", "source_partition", "source_offset", "reason", "error", "failed_at")
MAX_ERROR_CHARACTERS = 500
# What is kept of a record that does not fit into the DLQ with our headers around it.
MAX_KEPT_BYTES = 65_536

Headers = list[tuple[str, bytes]]
Send = Callable[[str, bytes, bytes, Headers], Awaitable[object]]

log = get_logger(__name__)


class Record(Protocol):
    """What a burial needs of a consumed record: Faust's Message and aiokafka's ConsumerRecord are such records."""

    topic: str
    partition: int
    offset: int
    headers: object
    value: bytes | None


class PoisonError(Exception):
    """A record that no retry can make good: bury it; `reason` is one word for the DLQ's header, `detail` its error."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


def pairs(headers: object) -> Headers:
    """The headers of a record as pairs, in their order; consumers give a list, a tuple, a mapping or nothing."""
    if isinstance(headers, Mapping):
        return list(headers.items())
    return list(headers) if isinstance(headers, Sequence) else []


def reason_of(error: Exception) -> tuple[str, str]:
    """The DLQ's reason and error text: the text of our own errors only, as a database's may quote values."""
    if isinstance(error, PoisonError):
        return error.reason, str(error)[:MAX_ERROR_CHARACTERS]
    if isinstance(error, SchemaError):
        return error.reason, f"{type(error).__name__}: {error}"[:MAX_ERROR_CHARACTERS]
    return "refused_by_database", type(error).__name__


class Burial:
    """The way into the DLQs: `send(topic, value, key, headers)` returns once the brokers have the record."""

    def __init__(self, prefix: str, send: Send, now: Callable[[], datetime]) -> None:
        self._prefix = prefix
        self._send = send
        self._now = now

    async def bury(self, record: Record, error: Exception) -> None:
        """Send one record to its DLQ and await the acknowledgement; a replay may bury it twice, under one key."""
        source = record.topic.removeprefix(self._prefix)
        reason, text = reason_of(error)
        where = (source, str(record.partition), str(record.offset))
        values = (*where, reason, text, self._now().isoformat(timespec="milliseconds"))
        headers = [pair for pair in pairs(record.headers) if pair[0] not in HEADERS]
        headers += [(name, value.encode()) for name, value in zip(HEADERS, values, strict=True)]
        topic = BY_NAME[source].dlq.named(self._prefix)
        key = "/".join(where).encode()
        value = record.value or b""
        try:
            await self._send(topic, value, key, headers)
        except MessageSizeTooLargeError:
            headers.append(("truncated_from_bytes", str(len(value)).encode()))
            await self._send(topic, value[:MAX_KEPT_BYTES], key, headers)
        metrics.BURIED.labels(source, reason).inc()
        log.error("record.buried", topic=source, partition=record.partition, offset=record.offset, reason=reason)
