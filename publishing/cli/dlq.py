"""Owns `tidewire dlq`: counts, shows and sends again the records that were buried."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import typer
from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.cli.failures import UnknownTopicError
from publishing.cli.topics import ask_broker
from publishing.runtime.burial import HEADERS
from publishing.runtime.settings import Settings, load_settings
from topics.errors import MissingTopicError

if TYPE_CHECKING:
    from aiokafka.structs import ConsumerRecord

    from topics.model import Topic

TRUNCATED: Final = "truncated_from_bytes"
"""The header of a record of which only the beginning was kept: it cannot be sent again."""

READ_TIMEOUT_MS: Final = 10_000

app = typer.Typer(no_args_is_help=True, help="Look at buried records, and send them again.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
SourceTopic = Annotated[str, typer.Argument(metavar="TOPIC", help="The source topic, with or without .dlq.")]


@dataclass(frozen=True, slots=True)
class Count:
    """How many records a topic has buried, and how many of them were not sent again."""

    topic: str
    buried: int
    waiting: int


@dataclass(frozen=True, slots=True)
class Buried:
    """One buried record: its offset in the DLQ, its headers as text, its size in bytes."""

    offset: int
    headers: dict[str, str]
    size_bytes: int
    payload: str | None


@app.command("list")
def list_(*, as_json: AsJson = False) -> None:
    """Count the buried records of every topic that has any."""
    from topics.catalog import ALL

    settings = load_settings("kafka_bootstrap_servers")
    counts = ask_broker(count_all(settings, [topic for topic in ALL if topic.has_dlq]))
    if as_json:
        typer.echo(json.dumps({one.topic: {"buried": one.buried, "waiting": one.waiting} for one in counts}))
        return
    for one in counts:
        typer.echo(f"{one.topic:<36} {one.buried:>8} buried {one.waiting:>8} waiting")
    if not counts:
        typer.echo("nothing is buried")


@app.command()
def show(
    topic: SourceTopic,
    *,
    limit: Annotated[int, typer.Option(min=1, help="Newest records to show.")] = 20,
    payload: Annotated[bool, typer.Option("--payload", help="Print the bytes too, as hex.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print the headers and sizes of the newest buried records; the bytes only when asked for."""
    settings = load_settings("kafka_bootstrap_servers")
    records = ask_broker(newest(settings, _source(topic), limit=limit, payload=payload))
    for one in records:
        if as_json:
            document = {"offset": one.offset, "size_bytes": one.size_bytes, "headers": one.headers}
            typer.echo(json.dumps(document | ({"payload": one.payload} if payload else {})))
            continue
        headers = " ".join(f"{name}={text}" for name, text in one.headers.items())
        typer.echo(f"{one.offset} {one.size_bytes} bytes {headers}" + (f" {one.payload}" if payload else ""))


@app.command()
def redrive(topic: SourceTopic, *, as_json: AsJson = False) -> None:
    """Send the buried records that were not sent again yet to their source partition."""
    settings = load_settings("kafka_bootstrap_servers")
    sent = ask_broker(send_again(settings, _source(topic)))
    typer.echo(json.dumps({"sent": sent}) if as_json else f"sent {sent} again")


async def count_all(settings: Settings, topics: Sequence[Topic]) -> list[Count]:
    """The counts of the topics that have buried records now."""
    counts = []
    for topic in await _not_empty(settings, topics):
        async with _opened(settings, topic) as (consumer, tail, begin, end):
            redriven = await consumer.committed(tail) or 0
            counts.append(Count(topic.name, end - begin, max(0, end - max(begin, redriven))))
    return counts


async def newest(settings: Settings, topic: Topic, *, limit: int, payload: bool) -> list[Buried]:
    """The last `limit` buried records, oldest first; `payload` as hex."""
    async with _opened(settings, topic) as (consumer, tail, begin, end):
        consumer.seek(tail, max(begin, end - limit))
        return [
            Buried(
                offset=record.offset,
                headers={name: bytes(text).decode(errors="replace") for name, text in record.headers},
                size_bytes=len(record.value or b""),
                payload=(record.value or b"").hex() if payload else None,
            )
            async for record in _until(consumer, tail, end)
        ]


async def send_again(settings: Settings, topic: Topic) -> int:
    """Produce each waiting record to its source partition, then remember it; a second call sends nothing.

    A record that was buried twice (one key) goes once; one of which only the beginning was kept stays.
    A death between the two steps sends one record twice, and its consumer drops the repetition by the item's own id.
    """
    from publishing.runtime.producer import open_producer

    sent: set[bytes] = set()
    known: set[bytes] = set()
    async with _opened(settings, topic) as (consumer, tail, begin, end), open_producer(settings) as producer:
        redriven = await consumer.committed(tail) or 0
        consumer.seek(tail, begin)
        async for record in _until(consumer, tail, end):
            headers = {name: bytes(text) for name, text in record.headers}
            identity = record.key or str(record.offset).encode()
            if record.offset < redriven:
                known.add(identity)
                continue
            if identity not in known | sent and TRUNCATED not in headers:
                await producer.send_and_wait(
                    topic.named(settings.topic_prefix),
                    record.value,
                    partition=int(headers["source_partition"]),
                    headers=[(name, text) for name, text in headers.items() if name not in HEADERS],
                )
                sent.add(identity)
            await consumer.commit({tail: record.offset + 1})
    return len(sent)


async def _not_empty(settings: Settings, topics: Sequence[Topic]) -> list[Topic]:
    """Those of the topics whose DLQ is on the broker and holds a record."""
    tails = {topic: TopicPartition(topic.dlq.named(settings.topic_prefix), 0) for topic in topics}
    consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka)
    try:
        await consumer.start()
        there = await consumer.topics()
        present = [tail for tail in tails.values() if tail.topic in there]
        begins = await consumer.beginning_offsets(present)
        ends = await consumer.end_offsets(present)
    finally:
        await consumer.stop()
    return [topic for topic, tail in tails.items() if ends.get(tail, 0) > begins.get(tail, 0)]


def _source(name: str) -> Topic:
    from topics.catalog import ALL

    wanted = name.removesuffix(".dlq")
    found = next((topic for topic in ALL if topic.name == wanted and topic.has_dlq), None)
    if found is None:
        raise UnknownTopicError(name)
    return found


@asynccontextmanager
async def _opened(settings: Settings, topic: Topic) -> AsyncIterator[tuple[AIOKafkaConsumer, TopicPartition, int, int]]:
    """A reader of the topic's DLQ under the redrive group, with the DLQ's first and next offset."""
    tail = TopicPartition(topic.dlq.named(settings.topic_prefix), 0)
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka,
        group_id=f"{settings.topic_prefix}tidewire-redrive-{topic.name}",
        enable_auto_commit=False,
    )
    try:
        await consumer.start()
        if tail.topic not in await consumer.topics():
            raise MissingTopicError([tail.topic])
        consumer.assign([tail])
        begin = (await consumer.beginning_offsets([tail]))[tail]
        end = (await consumer.end_offsets([tail]))[tail]
        yield consumer, tail, begin, end
    finally:
        await consumer.stop()


async def _until(consumer: AIOKafkaConsumer, tail: TopicPartition, end: int) -> AsyncIterator[ConsumerRecord]:
    """The records from the consumer's position to `end`."""
    while await consumer.position(tail) < end:
        batch = await consumer.getmany(tail, timeout_ms=READ_TIMEOUT_MS)
        for record in batch.get(tail, ()):
            if record.offset < end:
                yield record
