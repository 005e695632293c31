"""The catalogue: names, partitions, DLQs and settings of the topics."""

from __future__ import annotations

import json

import pytest

from schemas import avsc, messages
from topics import catalog
from topics.model import NoDlqError

pytestmark = pytest.mark.unit

SHARDED = {
    "content.ready.v1",
    "publication.due.v1",
    "publication.changed.v1",
    "subscriber.changed.v1",
    "engagement.recorded.v1",
    "model.fitted.v1",
}
KINDS = ("email", "slack", "discord", "webhook", "feed")
DELIVERIES = {f"delivery.{kind}.{lane}.v1" for kind in KINDS for lane in ("alert", "bulk")}


def test_the_topics_are_those_of_the_contract() -> None:
    """Names and partitions that others depend on."""
    partitions = {topic.name: topic.partition_count(16) for topic in catalog.ALL}
    assert partitions == dict.fromkeys(SHARDED, 16) | dict.fromkeys(DELIVERIES | {"content.submitted.v1"}, 8)
    assert {topic.name: topic.partition_count(4) for topic in catalog.CHANGELOGS} == {
        "tidewire-audience-pool-changelog": 4
    }


def test_every_message_topic_has_a_dlq_of_one_partition() -> None:
    """Buried records keep no order between partitions, so one is enough."""
    assert len(catalog.ALL_WITH_DLQS) == 2 * len(catalog.ALL) + len(catalog.CHANGELOGS)
    for topic in catalog.ALL:
        dlq = catalog.BY_NAME[f"{topic.name}.dlq"]
        assert dlq == topic.dlq
        assert (dlq.partition_count(16), dlq.message, dlq.has_dlq) == (1, None, False)
        assert dlq.producers == topic.consumers


def test_a_dlq_has_no_dlq() -> None:
    """Burying a buried record would hide it."""
    with pytest.raises(NoDlqError):
        _ = catalog.CONTENT_READY.dlq.dlq


def test_constants_and_lookups_are_the_same_topics() -> None:
    """DELIVERY is keyed by channel kind and lane."""
    assert catalog.DELIVERY["slack", "alert"].name == "delivery.slack.alert.v1"
    assert set(catalog.DELIVERY.values()) <= set(catalog.ALL)
    assert catalog.BY_NAME["model.fitted.v1"] is catalog.MODEL_FITTED
    assert catalog.ENGAGEMENT_RECORDED.message == messages.EngagementRecorded.__name__


def test_a_prefix_stands_before_the_whole_name() -> None:
    """Test sessions and tenants share a broker; DLQs and changelogs keep to the same rule."""
    assert catalog.CONTENT_READY.named("t1.") == "t1.content.ready.v1"
    assert catalog.CONTENT_READY.dlq.named("t1.") == "t1.content.ready.v1.dlq"
    assert catalog.CHANGELOGS[0].named("") == "tidewire-audience-pool-changelog"


@pytest.mark.parametrize(("replication", "in_sync"), [(1, "1"), (2, "1"), (3, "2")])
def test_settings_follow_the_replication(replication: int, in_sync: str) -> None:
    """With one or two copies a single broker may write alone; with three, two must have the record."""
    assert catalog.CONTENT_READY.configs(replication) == {
        "cleanup.policy": "delete",
        "retention.ms": str(7 * 24 * 3600 * 1000),
        "min.insync.replicas": in_sync,
    }
    assert catalog.CHANGELOGS[0].configs(replication)["cleanup.policy"] == "compact"


def test_the_ids_of_topics_are_those_of_their_messages() -> None:
    """ids.json names one id for each topic with messages: the one that the dataclass carries."""
    ids = json.loads((avsc.FOLDER / "ids.json").read_text(encoding="utf-8"))
    assert ids == {topic.name: messages.MESSAGES[topic.message].schema_id for topic in catalog.ALL if topic.message}
    assert (ids["content.submitted.v1"], ids["delivery.feed.bulk.v1"]) == (1, 8)
