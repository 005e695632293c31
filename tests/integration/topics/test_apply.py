"""Topics on the real broker: made once, with their settings, and never changed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from topics.apply import apply, check, plan
from topics.catalog import ALL, ALL_WITH_DLQS, CHANGELOGS, CONTENT_READY, MODEL_FITTED
from topics.errors import BrokerRefusalError, MissingTopicError, PartitionCountError

pytestmark = pytest.mark.integration

SHARDS = 2
FEW = (CONTENT_READY, CONTENT_READY.dlq, *CHANGELOGS)


async def described(bootstrap: str, prefix: str) -> dict[str, int]:
    """Number of partitions of each topic under the prefix."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        found = await admin.describe_topics()
    finally:
        await admin.close()
    return {topic["topic"]: len(topic["partitions"]) for topic in found if topic["topic"].startswith(prefix)}


async def settings_of(bootstrap: str, name: str) -> dict[str, str]:
    """The settings of a topic, as the broker has them."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        (response,) = await admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, name)])
    finally:
        await admin.close()
    return {entry[0]: entry[1] for entry in response.resources[0][4]}


async def test_two_applies_at_once_make_every_topic_once(services: Any, topic_prefix: str) -> None:
    """Both succeed; afterwards nothing is left to do, and every topic has its partitions and leaders."""
    both = await asyncio.gather(*(apply(services.kafka, prefix=topic_prefix, shards=SHARDS) for _ in range(2)))
    assert {len(changes) for changes in both} <= {len(ALL_WITH_DLQS), 0}
    assert await described(services.kafka, topic_prefix) == {
        topic.named(topic_prefix): topic.partition_count(SHARDS) for topic in ALL_WITH_DLQS
    }
    assert await plan(services.kafka, prefix=topic_prefix, shards=SHARDS) == []
    await check(services.kafka, prefix=topic_prefix, shards=SHARDS)


async def test_topics_get_their_settings(services: Any, topic_prefix: str) -> None:
    """Retention, clean-up and in-sync replicas are those of the file."""
    await apply(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=FEW)
    for topic in FEW:
        found = await settings_of(services.kafka, topic.named(topic_prefix))
        assert {name: found[name] for name in topic.configs(1)} == topic.configs(1)


async def test_plan_says_what_apply_would_create(services: Any, topic_prefix: str) -> None:
    """Planning creates nothing; the lines are for people."""
    changes = await plan(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=FEW)
    assert [change.name for change in changes] == [topic.named(topic_prefix) for topic in FEW]
    assert str(changes[0]).startswith(f"create {topic_prefix}content.ready.v1 partitions=2 replication=1 cleanup")
    assert await described(services.kafka, topic_prefix) == {}
    with pytest.raises(MissingTopicError) as raised:
        await check(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=FEW)
    assert raised.value.names == tuple(topic.named(topic_prefix) for topic in FEW)


async def test_what_exists_stays_and_the_rest_is_added(services: Any, topic_prefix: str) -> None:
    """A topic that the catalogue does not ask for is left alone."""
    await apply(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=(MODEL_FITTED,))
    changes = await apply(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=(CONTENT_READY,))
    assert [change.name for change in changes] == [CONTENT_READY.named(topic_prefix)]
    assert len(await described(services.kafka, topic_prefix)) == 2


@pytest.mark.parametrize("shards", [SHARDS - 1, SHARDS + 1])
async def test_another_number_of_shards_is_refused(services: Any, topic_prefix: str, shards: int) -> None:
    """Partitions are fixed at creation: neither plan, apply nor check goes on, and nothing is created."""
    await apply(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=(CONTENT_READY,))
    for ask in (plan, apply, check):
        with pytest.raises(PartitionCountError) as raised:
            await ask(services.kafka, prefix=topic_prefix, shards=shards, topics=ALL)
        assert (raised.value.expected, raised.value.found) == (shards, SHARDS)
        assert "TIDEWIRE_AUDIENCE_SHARDS" in str(raised.value)
    assert len(await described(services.kafka, topic_prefix)) == 1


async def test_what_the_broker_refuses_is_told(services: Any, topic_prefix: str) -> None:
    """More copies than brokers cannot be had: the error has the broker's words."""
    with pytest.raises(BrokerRefusalError) as raised:
        await apply(services.kafka, prefix=topic_prefix, shards=SHARDS, topics=FEW, replication=3)
    assert "InvalidReplicationFactorError" in raised.value.detail


async def test_a_broker_that_is_away_is_told(topic_prefix: str) -> None:
    """Nobody listens on the discard port."""
    with pytest.raises(BrokerRefusalError):
        await plan("127.0.0.1:9", prefix=topic_prefix, shards=SHARDS)
