"""Dead letters of the delivery topics, and the limit at which a sink stops instead of burying everything."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from aiokafka.errors import MessageSizeTooLargeError

from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from topics.model import Topic

HEADERS = ("source_topic", "source_partition", "source_offset", "reason", "error", "failed_at")
MAX_ERROR_CHARS = 500
# What is kept of a record that does not fit into the DLQ with our headers around it.
MAX_KEPT_BYTES = 65_536

log = get_logger(__name__)


class PoisonError(Exception):
    """A record that no retry can make good: bury it; `reason` is one word for the DLQ's header."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(detail or reason)
        self.reason = reason


class BurialLimitError(Exception):
    """Too much of this topic is poison: nothing more is buried and no offset advances; look at the last deployment."""


class Sender(Protocol):
    """The part of a producer that a burial needs."""

    async def send_and_wait(self, topic: str, value: bytes, *, key: bytes, headers: list[tuple[str, bytes]]) -> object:
        """Produce one record and wait for the acknowledgement."""
        ...


@dataclass(slots=True)
class BurialLimit:
    """Exceeded when over half of the last 100 records are poison, and at least 20 are.

    39 records of which 19 are poison: below (19 < 20). 39 of which 20 are: exceeded (0.51 > 0.5).
    """

    window_records: int = 100
    least: int = 20
    ratio: float = 0.5
    _seen: deque[bool] = field(default_factory=deque)

    def note(self, *, is_poison: bool) -> None:
        """Count one record."""
        self._seen.append(is_poison)
        if len(self._seen) > self.window_records:
            self._seen.popleft()

    @property
    def is_exceeded(self) -> bool:
        """Whether the worker has to stop."""
        poison = sum(self._seen)
        return poison >= self.least and poison > self.ratio * len(self._seen)


async def bury(sender: Sender, topic: Topic, prefix: str, record: Any, *, error: PoisonError, now: datetime) -> None:
    """Send one consumed record, raw, to its topic's DLQ; a replay may bury it twice, under one key."""
    where = (topic.name, str(record.partition), str(record.offset))
    values = (*where, error.reason, str(error)[:MAX_ERROR_CHARS], now.isoformat(timespec="milliseconds"))
    headers = [(name, value) for name, value in record.headers or () if name not in HEADERS]
    headers += [(name, value.encode()) for name, value in zip(HEADERS, values, strict=True)]
    destination, key, value = topic.dlq.named(prefix), "/".join(where).encode(), record.value or b""
    try:
        await sender.send_and_wait(destination, value, key=key, headers=headers)
    except MessageSizeTooLargeError:
        headers.append(("truncated_from_bytes", str(len(value)).encode()))
        await sender.send_and_wait(destination, value[:MAX_KEPT_BYTES], key=key, headers=headers)
    metrics.BURIED.labels(topic.name, error.reason).inc()
    log.error("record.buried", topic=topic.name, partition=record.partition, offset=record.offset, reason=error.reason)
