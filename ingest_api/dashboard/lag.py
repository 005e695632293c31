"""Owns how far the streams are behind the log: the brokers' end offsets beside the positions in the database."""

import asyncio
import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from publishing.runtime.clock import monotonic_s
from publishing.runtime.logs import get_logger
from publishing.runtime.producer import full_name
from publishing.runtime.settings import Settings
from topics.catalog import ALL, BY_NAME

# What the brokers said is shown for so long, to any number of dashboards.
FRESH_S: Final = 5.0
WAIT_S: Final = 1.0

Place = tuple[str, int]
log = get_logger(__name__)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ends:
    """The end offsets of the topics that consumers fence, and how many records each dead-letter topic holds."""

    ends: Mapping[Place, int]
    buried: Mapping[str, int]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLag:
    """One consumer of one topic; lag in records, None while the brokers do not answer."""

    consumer: str
    topic: str
    partitions: int
    lag: int | None
    moved_at: dt.datetime


def lags(positions: Iterable[Mapping[str, Any]], ends: Ends | None) -> list[ConsumerLag]:
    """Subtract positions from ends: of two partitions that end at 10 and 20, taken to 8 and 20, the lag is 2."""
    grouped: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in positions:
        grouped.setdefault((row["consumer"], row["topic"]), []).append(row)
    return [
        ConsumerLag(
            consumer=consumer,
            topic=topic,
            partitions=len(rows),
            lag=None if ends is None else sum(_behind(row, ends) for row in rows),
            moved_at=max(row["updated_at"] for row in rows),
        )
        for (consumer, topic), rows in sorted(grouped.items())
    ]


def _behind(row: Mapping[str, Any], ends: Ends) -> int:
    taken: int = row["next_offset"]
    return max(0, ends.ends.get((row["topic"], row["partition"]), 0) - taken)


class Log:
    """Asks the brokers where their topics end, at most once in five seconds; never makes a page wait over a second."""

    def __init__(self, settings: Settings) -> None:
        """Keep where to ask; nothing is opened yet."""
        self._settings = settings
        self._consumer: AIOKafkaConsumer | None = None
        self._asking = asyncio.Lock()
        self._found: Ends | None = None
        self._asked_s = -FRESH_S

    async def ends(self, topics: Iterable[str]) -> Ends | None:
        """Return where these topics (names of the catalogue) end, or None while the brokers do not answer."""
        async with self._asking:
            if monotonic_s() - self._asked_s >= FRESH_S:
                try:
                    async with asyncio.timeout(WAIT_S):
                        self._found = await self._ask(sorted(set(topics) & BY_NAME.keys()))
                except (KafkaError, OSError, TimeoutError) as error:
                    log.warning("lag.unknown", error=type(error).__name__)
                    self._found = None
                    await self.close()
                self._asked_s = monotonic_s()
            return self._found

    async def close(self) -> None:
        """Close the connection; the next question opens another."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            await consumer.stop()

    async def _ask(self, topics: list[str]) -> Ends:
        consumer = await self._opened()
        settings = self._settings
        shards = settings.audience_shards
        places = {
            TopicPartition(full_name(settings, BY_NAME[name]), partition): (name, partition)
            for name in topics
            for partition in range(BY_NAME[name].partition_count(shards))
        }
        graves = {TopicPartition(full_name(settings, one.dlq), 0): one.dlq.name for one in ALL if one.has_dlq}
        known = await consumer.topics()
        asked = [tp for tp in [*places, *graves] if tp.topic in known]
        ends = await consumer.end_offsets(asked)
        begins = await consumer.beginning_offsets([tp for tp in graves if tp.topic in known])
        return Ends(
            ends={place: ends[tp] for tp, place in places.items() if tp in ends},
            buried={name: ends[tp] - begins[tp] for tp, name in graves.items() if tp in ends and ends[tp] > begins[tp]},
        )

    async def _opened(self) -> AIOKafkaConsumer:
        if self._consumer is None:
            consumer = AIOKafkaConsumer(bootstrap_servers=self._settings.kafka, enable_auto_commit=False)
            self._consumer = consumer
            await consumer.start()
        return self._consumer
