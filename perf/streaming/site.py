"""Where the stream benches run: services, a database and topics of each run's own, and the CPU that processes used."""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaProducer

from migrations.apply import upgrade
from perf.streaming.mix import Record
from publishing.local import services as local
from publishing.local.addresses import ServiceAddresses
from publishing.runtime.clock import utc_now
from publishing.runtime.correlation import record_headers
from publishing.runtime.database import create_database, drop_database
from publishing.runtime.settings import PREFIX, Settings, environment
from topics import apply as topics_apply
from topics.catalog import ENGAGEMENT_RECORDED

SHARDS = 16


@dataclass(frozen=True, slots=True)
class Site:
    """One run's own database and topics on shared services; `variables` is the environment of its processes."""

    addresses: ServiceAddresses
    database_url: str
    prefix: str
    variables: Mapping[str, str]

    @property
    def topic(self) -> str:
        """The full name of the topic of engagement."""
        return ENGAGEMENT_RECORDED.named(self.prefix)

    @property
    def settings(self) -> Settings:
        """The settings that processes read from `variables`."""
        return Settings(
            kafka_bootstrap_servers=self.addresses.kafka,
            database_url=self.database_url,
            topic_prefix=self.prefix,
            audience_shards=SHARDS,
        )


@asynccontextmanager
async def services() -> AsyncIterator[ServiceAddresses]:
    """The services that the environment names, else a set of the bench's own that ends with it."""
    with tempfile.TemporaryDirectory(prefix="tidewire-perf-") as folder:
        run_dir = Path(folder) / "services"
        addresses = local.resolve(environment(), run_dir)
        try:
            yield addresses
        finally:
            if run_dir.exists():
                local.stop(run_dir)


@asynccontextmanager
async def site(addresses: ServiceAddresses) -> AsyncIterator[Site]:
    """A fresh database and fresh topics of engagement; the database is dropped at the end."""
    name = f"tidewire_perf_{secrets.token_hex(4)}"
    database_url = await create_database(addresses.database, name)
    prefix = f"{name.replace('_', '-')}."
    try:
        await upgrade(database_url)
        topics = [ENGAGEMENT_RECORDED, ENGAGEMENT_RECORDED.dlq]
        await topics_apply.apply(addresses.kafka, prefix=prefix, shards=SHARDS, topics=topics)
        variables = {key: value for key, value in environment().items() if not key.startswith(PREFIX)} | {
            "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS": addresses.kafka,
            "TIDEWIRE_DATABASE_URL": database_url,
            "TIDEWIRE_REDIS_URL": addresses.redis,
            "TIDEWIRE_TOPIC_PREFIX": prefix,
            "TIDEWIRE_AUDIENCE_SHARDS": str(SHARDS),
            "TIDEWIRE_HEALTH_PORT": "0",
        }
        yield Site(addresses, database_url, prefix, variables)
    finally:
        await drop_database(addresses.database, database_url)


async def produce(kafka: str, topic: str, records: Iterable[Record]) -> int:
    """Append the records and wait for the broker; returns how many there were."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=20, max_batch_size=262_144
    )
    await producer.start()
    try:
        count = 0
        for record in records:
            headers = record_headers(
                "tidewire.EngagementRecorded", ce_id=record.number, ce_source=record.source, now=utc_now()
            )
            await producer.send(topic, record.value, key=record.key, partition=record.partition, headers=headers)
            count += 1
        await producer.flush()
        return count
    finally:
        await producer.stop()
