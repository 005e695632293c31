"""Makes the topics of a broker what the catalogue says: creates what is missing, changes and deletes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from topics.catalog import ALL_WITH_DLQS
from topics.errors import BrokerRefusalError, MissingTopicError, PartitionCountError
from topics.model import Topic

READY_TIMEOUT_S = 30.0
"""A broker elects leaders of new partitions within a second; 30 s leaves room for a broker that is starting."""

_POLL_S = 0.1
_REQUEST_TIMEOUT_MS = 15_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One topic that is missing, with all that it will be created with."""

    name: str
    partitions: int
    replication: int
    configs: dict[str, str]

    def __str__(self) -> str:
        """One line for people."""
        settings = " ".join(f"{key}={value}" for key, value in self.configs.items())
        return f"create {self.name} partitions={self.partitions} replication={self.replication} {settings}"


async def plan(
    bootstrap: str,
    *,
    prefix: str,
    shards: int,
    topics: Iterable[Topic] = ALL_WITH_DLQS,
    replication: int = 1,
) -> list[Change]:
    """What `apply` would create; raises PartitionCountError where a topic has another number of partitions."""
    async with _admin(bootstrap) as admin:
        return await _missing(admin, _wanted(topics, prefix=prefix, shards=shards, replication=replication))


async def apply(
    bootstrap: str,
    *,
    prefix: str,
    shards: int,
    topics: Iterable[Topic] = ALL_WITH_DLQS,
    replication: int = 1,
) -> list[Change]:
    """Creates what is missing, waits until every partition has a leader, and returns what was missing before.

    Safe to run twice at once. Raises PartitionCountError, or BrokerRefusalError after READY_TIMEOUT_S.
    """
    wanted = _wanted(topics, prefix=prefix, shards=shards, replication=replication)
    async with _admin(bootstrap) as admin:
        changes = await _missing(admin, wanted)
        if changes:
            await _create(admin, changes)
        await _wait_for_leaders(admin, wanted)
        return changes


async def check(bootstrap: str, *, prefix: str, shards: int, topics: Iterable[Topic] = ALL_WITH_DLQS) -> None:
    """Raises MissingTopicError or PartitionCountError; a process calls it before it reads its first record."""
    changes = await plan(bootstrap, prefix=prefix, shards=shards, topics=topics)
    if changes:
        raise MissingTopicError(change.name for change in changes)


def _wanted(topics: Iterable[Topic], *, prefix: str, shards: int, replication: int) -> list[Change]:
    return [
        Change(
            name=topic.named(prefix),
            partitions=topic.partition_count(shards),
            replication=replication,
            configs=topic.configs(replication),
        )
        for topic in topics
    ]


@asynccontextmanager
async def _admin(bootstrap: str) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(
        bootstrap_servers=bootstrap, client_id="tidewire-topics", request_timeout_ms=_REQUEST_TIMEOUT_MS
    )
    try:
        try:
            await admin.start()
            yield admin
        finally:
            await admin.close()
    except KafkaError as error:
        raise BrokerRefusalError(f"{type(error).__name__}: {error}") from error


async def _leaders(admin: AIOKafkaAdminClient) -> dict[str, list[int]]:
    """The leader of each partition of each topic, -1 where there is none; asks for all, which creates none."""
    found = await admin.describe_topics()
    return {topic["topic"]: [partition["leader"] for partition in topic["partitions"]] for topic in found}


async def _missing(admin: AIOKafkaAdminClient, wanted: list[Change]) -> list[Change]:
    leaders = await _leaders(admin)
    for change in wanted:
        found = len(leaders.get(change.name, ()))
        if found not in (0, change.partitions):
            raise PartitionCountError(change.name, change.partitions, found)
    return [change for change in wanted if not leaders.get(change.name)]


async def _create(admin: AIOKafkaAdminClient, changes: list[Change]) -> None:
    response = await admin.create_topics(
        [
            NewTopic(change.name, change.partitions, change.replication, topic_configs=change.configs)
            for change in changes
        ]
    )
    for name, code, *words in response.topic_errors:
        if code not in (0, TopicAlreadyExistsError.errno):
            raise BrokerRefusalError(f"{name}: {for_code(code).__name__} {words[0] if words else ''}".rstrip())


async def _wait_for_leaders(admin: AIOKafkaAdminClient, wanted: list[Change]) -> None:
    waiting = wanted
    try:
        async with asyncio.timeout(READY_TIMEOUT_S):
            while waiting:
                leaders = await _leaders(admin)
                waiting = [change for change in waiting if not _has_leaders(change, leaders.get(change.name, []))]
                if waiting:
                    await asyncio.sleep(_POLL_S)
    except TimeoutError as error:
        raise BrokerRefusalError(f"no leader for every partition of {waiting[0].name}") from error


def _has_leaders(change: Change, leaders: list[int]) -> bool:
    if len(leaders) > change.partitions:
        raise PartitionCountError(change.name, change.partitions, len(leaders))
    return len(leaders) == change.partitions and min(leaders) >= 0
