"""An app has the settings that were measured to hold, and its consumer starts where PostgreSQL says."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from publishing.runtime.settings import Settings
from publishing.stores.offsets import Place
from streams.application import ResourceNotOpenError, StreamApp, by_partition, create_app, raw_topic
from streams.fenced import FencedConsumer, FencedTransport
from tests.fakes.streams import FakeDlq, FakeRecord
from topics.catalog import CONTENT_READY, ENGAGEMENT_RECORDED, TIDEWIRE_AUDIENCE_POOL_CHANGELOG

pytestmark = pytest.mark.unit

SETTINGS = Settings(kafka_bootstrap_servers="one:1,two:2", topic_prefix="x.", instance="pod-3")
TOPIC = "x." + ENGAGEMENT_RECORDED.name


@pytest.fixture
def app() -> StreamApp:
    """An app that is not started."""
    return create_app(SETTINGS, "engagement")


def test_the_group_and_the_member_are_named_by_the_settings(app: StreamApp) -> None:
    """The group carries the installation's prefix; the member is static, so that a restart takes its place at once."""
    assert app.conf.id == "x.tidewire-engagement"
    assert app.conf.consumer_group_instance_id == "pod-3"
    assert [f"{url.host}:{url.port}" for url in app.conf.broker] == ["one:1", "two:2"]
    assert isinstance(app.transport, FencedTransport)
    assert app.transport.Consumer is FencedConsumer


def test_what_was_measured_to_lose_events_is_off(app: StreamApp) -> None:
    """Nothing is declared by the app, streams are waited for, and partitions are co-assigned."""
    assert not app.conf.topic_allow_declare
    assert app.conf.stream_wait_empty
    assert app.conf.table_standby_replicas == 1
    assert app.conf.broker_session_timeout <= app.conf.broker_request_timeout
    assert str(app.conf.processing_guarantee.value) == "at_least_once"


def test_a_raw_topic_is_fenced_and_required_with_its_dlq(app: StreamApp) -> None:
    """Topics and their DLQs are checked before the start; an unfenced one keeps the group's positions."""
    raw_topic(app, SETTINGS, ENGAGEMENT_RECORDED)
    raw_topic(app, SETTINGS, CONTENT_READY, fenced=False)
    raw_topic(app, SETTINGS, TIDEWIRE_AUDIENCE_POOL_CHANGELOG, fenced=False)
    assert [topic.name for topic in app.required_topics] == [
        ENGAGEMENT_RECORDED.name,
        ENGAGEMENT_RECORDED.dlq.name,
        CONTENT_READY.name,
        CONTENT_READY.dlq.name,
        TIDEWIRE_AUDIENCE_POOL_CHANGELOG.name,
    ]
    assert app.fence.is_watched(TP(TOPIC, 0))
    assert not app.fence.is_watched(TP("x." + CONTENT_READY.name, 0))


async def test_an_undecodable_value_is_buried_and_does_not_throw(app: StreamApp) -> None:
    """Faust would end an agent in silence on such an error: the second net buries the record."""
    dlq = FakeDlq()
    app.burial._send = dlq.send
    topic: Any = raw_topic(app, SETTINGS, ENGAGEMENT_RECORDED)
    await topic.on_value_decode_error(ValueError("x"), FakeRecord(4, topic=TOPIC))
    assert dlq.offsets == [4]


def test_resources_are_there_only_while_the_app_runs(app: StreamApp) -> None:
    """An agent that asks too early is told so."""
    for name in ("pool", "frame_producer"):
        with pytest.raises(ResourceNotOpenError):
            getattr(app, name)


def test_a_batch_is_sorted_by_partition_and_offset() -> None:
    """Events of a batch come interleaved; each partition's records are in offset order."""
    first, second = TP(TOPIC, 0), TP(TOPIC, 1)

    def event(tp: TP, offset: int) -> Any:
        return SimpleNamespace(message=SimpleNamespace(tp=tp, offset=offset))

    found = by_partition([event(second, 8), event(first, 2), event(second, 7)])
    assert {tp: [record.offset for record in records] for tp, records in found.items()} == {first: [2], second: [7, 8]}


class FakeThread:
    """Faust's consumer thread: an assignment, the group's offsets, and where it was sought to."""

    def __init__(self, *places: TP) -> None:
        self.places = set(places)
        self.sought: dict[TP, int] = {}

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """What the group has committed: 99 everywhere."""
        return dict.fromkeys(self.places, 99)

    def assignment(self) -> set[TP]:
        """The partitions of this member."""
        return self.places

    def seek(self, place: TP, offset: int) -> None:
        """Note a seek."""
        self.sought[place] = offset


@pytest.fixture
def consumer(app: StreamApp) -> Any:
    """A consumer over a fake thread with one fenced and one other partition."""
    raw_topic(app, SETTINGS, ENGAGEMENT_RECORDED)
    made = object.__new__(FencedConsumer)
    made.__dict__.update(app=app, _thread=FakeThread(TP(TOPIC, 1), TP("x.other", 1)))
    return made


async def test_an_assignment_seeks_to_the_stored_offsets(app: StreamApp, consumer: Any) -> None:
    """Fenced partitions start at PostgreSQL's offsets, others at the group's; callbacks follow the seek."""
    seen: list[frozenset[TP]] = []

    async def five(places: Sequence[Place]) -> Mapping[Place, int]:
        return dict.fromkeys(places, 5)

    @app.on_assigned
    async def note(partitions: frozenset[TP]) -> None:
        assert consumer._thread.sought
        seen.append(partitions)

    app.fence.load_with(five)
    assert await consumer.seek_to_committed() == {TP(TOPIC, 1): 5, TP("x.other", 1): 99}
    assert consumer._thread.sought == {TP(TOPIC, 1): 5}
    assert seen == [frozenset({TP(TOPIC, 1)})]


async def test_a_worker_that_cannot_load_its_offsets_dies(app: StreamApp, consumer: Any) -> None:
    """A half-loaded worker must never read a record: it ends itself, and the group gives its partitions away."""
    killed: list[str] = []

    async def fail(_: Sequence[Place]) -> Mapping[Place, int]:
        raise OSError

    app.kill = killed.append
    app.fence.load_with(fail)
    await consumer.seek_to_committed()
    assert killed == ["offsets not loaded at assignment: OSError"]
    assert consumer._thread.sought == {}
