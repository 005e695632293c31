"""The Kafka producer of a process outside Faust: acks from all, idempotent, one awaited record a frame."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaProducer
from aiokafka.structs import RecordMetadata

from publishing.runtime.settings import Settings
from topics.model import Topic

REQUEST_TIMEOUT_MS = 30_000
MAX_BATCH_BYTES = 262_144
# The broker's default limit of a record (message.max.bytes) is 1 MiB and a few bytes.
MAX_RECORD_BYTES = 1_048_576

Headers = Sequence[tuple[str, bytes]]


@asynccontextmanager
async def open_producer(settings: Settings, *, linger_ms: int = 5) -> AsyncIterator[AIOKafkaProducer]:
    """Start a producer and stop it at the end, flushing what it holds."""
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka,
        acks="all",
        enable_idempotence=True,
        linger_ms=linger_ms,
        max_batch_size=MAX_BATCH_BYTES,
        max_request_size=MAX_RECORD_BYTES,
        request_timeout_ms=REQUEST_TIMEOUT_MS,
    )
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def send_frame(
    producer: AIOKafkaProducer,
    destination: str,
    value: bytes,
    *,
    partition: int | None = None,
    key: bytes | None = None,
    headers: Headers = (),
) -> RecordMetadata:
    """Produce one record to a topic by its full name and wait for the brokers' acknowledgement."""
    return await producer.send_and_wait(destination, value, key=key, partition=partition, headers=list(headers))


def full_name(settings: Settings, topic: Topic) -> str:
    """The topic's name on the broker: the prefix of the installation, then the catalogue's name."""
    return topic.named(settings.topic_prefix)
