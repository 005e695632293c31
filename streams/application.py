"""A Faust app of this installation: the settings that were measured to hold, raw topics, and the fence."""

import asyncio
import random
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import faust
from aiokafka import AIOKafkaProducer
from faust.types import TP

from publishing.runtime.burial import Burial, Headers, PoisonError
from publishing.runtime.clock import monotonic_s, utc_now
from publishing.runtime.producer import send_frame
from publishing.runtime.settings import Settings
from publishing.stores.offsets import Place, Pool, load_offsets
from streams.fenced import Fence, FencedTransport, OnAssigned
from streams.guard import Decode, Guard, StreamRecord, Surroundings, poison_limit
from streams.stopping import kill_self, stop_on_poison
from topics.model import Topic

# Faust 0.15.3 with aiokafka 0.14 on Kafka 4.3, measured: what is not set here keeps its default on purpose.
SETTINGS: dict[str, Any] = {
    "topic_allow_declare": False,
    "topic_disable_leader": True,
    "consumer_auto_offset_reset": "earliest",
    "broker_session_timeout": 10.0,
    "broker_heartbeat_interval": 1.5,
    "broker_request_timeout": 60.0,
    "broker_rebalance_timeout": 20.0,
    "broker_commit_interval": 1.0,
    "broker_commit_every": 20_000,
    "stream_buffer_maxsize": 65_536,
    "stream_wait_empty": True,
    "producer_acks": -1,
    "producer_linger": 0.005,
    "producer_max_batch_size": 262_144,
    "producer_request_timeout": 30.0,
    # Without standbys and tables Faust takes the round-robin assignor, which does not co-partition topics.
    "table_standby_replicas": 1,
    "store": "memory://",
    "web_enabled": False,
    "web_tables_enabled": False,
    "web_router_enabled": False,
    "worker_redirect_stdouts": False,
}

T = TypeVar("T")


class ResourceNotOpenError(Exception):
    """The pool or the producer was asked for before the app was running: use it inside an agent only."""


class RawTopic(faust.Topic):
    """A second net: raw bytes do not fail to decode, but if they ever do, Faust would end the agent silently."""

    async def on_value_decode_error(self, exc: Exception, message: Any) -> None:
        """Bury the record instead of throwing into the agent."""
        app: Any = self.app
        await app.burial.bury(message, PoisonError(f"undecoded_{type(exc).__name__}"))

    on_key_decode_error = on_value_decode_error


class StreamApp(faust.App):
    """A Faust app with what its agents need: settings, the fence, the pool and the producer once it runs."""

    def __init__(self, settings: Settings, name: str, **options: Any) -> None:
        super().__init__(f"{settings.topic_prefix}tidewire-{name}", **options)
        self.settings = settings
        self.consumer_name = name
        self.required_topics: list[Topic] = []
        self.on_assigned_callbacks: list[OnAssigned] = []
        self.fence = Fence(settings.topic_prefix, self._load_offsets)
        self.burial = Burial(settings.topic_prefix, self._send_dead_letter, utc_now)
        self.limit = poison_limit()
        self.kill: Callable[[str], None] = kill_self
        self.opened_pool: Pool | None = None
        self.opened_producer: AIOKafkaProducer | None = None

    @property
    def pool(self) -> Pool:
        """The PostgreSQL pool; raises ResourceNotOpenError before the app runs."""
        if self.opened_pool is None:
            raise ResourceNotOpenError
        return self.opened_pool

    @property
    def frame_producer(self) -> AIOKafkaProducer:
        """The idempotent producer beside Faust's; raises ResourceNotOpenError before the app runs."""
        if self.opened_producer is None:
            raise ResourceNotOpenError
        return self.opened_producer

    def on_assigned(self, callback: OnAssigned) -> OnAssigned:
        """Await `callback(partitions)` at every assignment, after the seek and before the first record.

        It shares the seek's limit of 8 s, and may be called again for partitions that the worker kept.
        """
        self.on_assigned_callbacks.append(callback)
        return callback

    def guard(self, decode: Decode[T]) -> Guard[T]:
        """A guard over this app's fence; all guards of an app share one poison limit."""
        world = Surroundings(asyncio.sleep, monotonic_s, random.Random(), stop_on_poison)  # noqa: S311  - jitter
        return Guard(self.consumer_name, decode, fence=self.fence, burial=self.burial, limit=self.limit, world=world)

    async def _load_offsets(self, places: Iterable[Place]) -> Any:
        return await load_offsets(self.pool, self.consumer_name, list(places))

    async def _send_dead_letter(self, topic: str, value: bytes, key: bytes, headers: Headers) -> object:
        return await send_frame(self.frame_producer, topic, value, partition=0, key=key, headers=headers)


def create_app(settings: Settings, name: str, **options: Any) -> StreamApp:
    """The app of one responsibility; its group is `<prefix>tidewire-<name>`, its fence's consumer is `name`.

    `options` are Faust's, instead of what SETTINGS holds.
    """
    app = StreamApp(
        settings,
        name,
        broker=";".join(f"kafka://{address}" for address in settings.kafka.split(",")),
        consumer_group_instance_id=settings.instance,
        canonical_url=f"http://{settings.instance}.{name}:1",
        datadir=Path(tempfile.gettempdir()) / f"{settings.topic_prefix}tidewire-{name}-{settings.instance}",
        Topic=RawTopic,
        **(SETTINGS | options),
    )
    app.transport = FencedTransport(app.conf.broker_consumer, app, loop=None)
    return app


def raw_topic(app: StreamApp, settings: Settings, topic: Topic, *, fenced: bool = True) -> faust.TopicT:
    """A topic whose values and keys stay bytes; the guard decodes. Fenced: its positions come from PostgreSQL."""
    app.required_topics.extend((topic, topic.dlq) if topic.has_dlq else (topic,))
    if fenced:
        app.fence.watch(topic)
    return app.topic(
        topic.named(settings.topic_prefix),
        value_type=bytes,
        key_type=bytes,
        value_serializer="raw",
        key_serializer="raw",
    )


def by_partition(events: Iterable[Any]) -> dict[TP, list[StreamRecord]]:
    """The records of a `take_events` batch by partition, in offset order."""
    found: dict[TP, list[StreamRecord]] = {}
    for event in events:
        found.setdefault(event.message.tp, []).append(event.message)
    for records in found.values():
        records.sort(key=lambda record: record.offset)
    return found
