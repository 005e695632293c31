"""The outbox reaches Kafka, whole, whatever dies on the way."""

import asyncio
import datetime as dt
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from publishing.runtime.correlation import header
from publishing.runtime.failpoints import FailpointError, arm
from publishing.runtime.metrics import REGISTRY
from publishing.runtime.settings import Settings
from publishing.stores.outbox import FRAME_GRACE, Outbox
from schemas.codec import decode
from schemas.messages import PublicationChanged, SubscriberChanged
from streams.relay import Relay, UnacknowledgedError
from topics.catalog import ENGAGEMENT_RECORDED, PUBLICATION_CHANGED, SUBSCRIBER_CHANGED

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
Add = Callable[..., Awaitable[int]]
Read = Callable[..., Awaitable[list[ConsumerRecord]]]
MakeTopics = Callable[..., Awaitable[None]]


def _changed(number: int) -> dict[str, object]:
    return {"publication_id": number, "version": 1, "status": "running"}


def _changes(shard: int, seq: int) -> dict[str, object]:
    return {"shard": shard, "changes": [{"destination": seq * 4 + shard, "seq": seq, "version": 1}]}


@pytest.fixture
def relay(pool: asyncpg.Pool, producer: AIOKafkaProducer, settings: Settings) -> Relay:
    """A relay at the time NOW."""
    return Relay(Outbox(pool), producer, settings, clock=lambda: NOW)


async def _unsent(pool: asyncpg.Pool) -> list[int]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM publishing_outbox WHERE sent_at IS NULL ORDER BY id")]


async def test_rows_become_records_of_their_partition(
    pool: asyncpg.Pool, relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """A payload is sent as its message with its row's number and source; the row is then marked."""
    await make_topics(PUBLICATION_CHANGED)
    numbers = [await add_outbox(PUBLICATION_CHANGED.name, partition=p, payload=_changed(p)) for p in range(4)]
    assert await relay.step() is False
    records = await read_records(PUBLICATION_CHANGED)
    assert [decode(record.value, PublicationChanged).publication_id for record in records] == [0, 1, 2, 3]
    assert [record.partition for record in records] == [0, 1, 2, 3]
    assert [header(record.headers, "ce_id") for record in records] == [str(number) for number in numbers]
    assert {header(record.headers, "ce_source") for record in records} == {"tests"}
    assert all(header(record.headers, "traceparent") for record in records)
    assert await _unsent(pool) == []


async def test_changes_of_a_shard_travel_in_one_frame(
    relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """Three writes of one shard are one record, in the order of their numbers."""
    await make_topics(SUBSCRIBER_CHANGED)
    for seq in (1, 2, 3):
        await add_outbox(SUBSCRIBER_CHANGED.name, partition=2, payload=_changes(2, seq))
    await relay.step()
    (record,) = await read_records(SUBSCRIBER_CHANGED)
    assert [change.seq for change in decode(record.value, SubscriberChanged).changes] == [1, 2, 3]


async def test_a_fresh_frame_is_left_to_its_writer(
    pool: asyncpg.Pool, relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """A frame younger than 5 s is its writer's; an older one is sent as it is."""
    await make_topics(ENGAGEMENT_RECORDED)
    fresh = await add_outbox(ENGAGEMENT_RECORDED.name, frame=b"fresh", created_at=NOW - FRAME_GRACE / 2)
    await relay.step()
    assert await _unsent(pool) == [fresh]
    await add_outbox(ENGAGEMENT_RECORDED.name, frame=b"old", created_at=NOW - FRAME_GRACE)
    await relay.step()
    assert [record.value for record in await read_records(ENGAGEMENT_RECORDED)] == [b"old"]
    assert await _unsent(pool) == [fresh]


async def test_poison_goes_to_the_quarantine_alone(
    pool: asyncpg.Pool, relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """Rows that can never be sent are kept whole in the quarantine, and their neighbours pass."""
    await make_topics(PUBLICATION_CHANGED)
    unknown = await add_outbox("no.such.topic.v1", frame=b"\x01\x02", created_at=NOW - FRAME_GRACE)
    await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(1))
    wrong = await add_outbox(PUBLICATION_CHANGED.name, payload={"version": "one"})
    await relay.step()
    assert len(await read_records(PUBLICATION_CHANGED)) == 1
    rows = await pool.fetch("SELECT external_id, reason, detail FROM publishing_quarantine ORDER BY id")
    assert [(row["external_id"], row["reason"]) for row in rows] == [
        (str(unknown), "unknown_topic"),
        (str(wrong), "not_encodable"),
    ]
    assert (rows[0]["detail"]["frame_base64"], rows[1]["detail"]["payload"]) == ("AQI=", {"version": "one"})
    assert await _unsent(pool) == []


async def test_a_topic_that_is_missing_holds_up_no_other(
    pool: asyncpg.Pool, relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """While one topic cannot be reached its rows stay, the others are sent and marked, and no row is sent twice."""
    await make_topics(PUBLICATION_CHANGED)
    waiting = await add_outbox(SUBSCRIBER_CHANGED.name, payload=_changes(0, 1))
    await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(1))
    with pytest.raises(UnacknowledgedError):
        await relay.step()
    assert await _unsent(pool) == [waiting]
    await make_topics(SUBSCRIBER_CHANGED)
    async with asyncio.timeout(60):
        while await _unsent(pool):
            try:
                await relay.step()
            except UnacknowledgedError:
                continue
    assert len(await read_records(PUBLICATION_CHANGED)) == 1
    assert len(await read_records(SUBSCRIBER_CHANGED)) == 1


async def test_a_relay_that_dies_before_marking_repeats(
    pool: asyncpg.Pool, relay: Relay, add_outbox: Add, make_topics: MakeTopics, read_records: Read
) -> None:
    """Between acknowledgement and mark a row is sent again, under the same number: at least once."""
    await make_topics(PUBLICATION_CHANGED)
    number = await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(1))
    arm("scheduler.after_produce:1:RAISE")
    try:
        with pytest.raises(FailpointError):
            await relay.step()
    finally:
        arm("")
    assert await _unsent(pool) == [number]
    relay._pending.clear()  # what a new process starts with
    await relay.step()
    records = await read_records(PUBLICATION_CHANGED)
    assert [header(record.headers, "ce_id") for record in records] == [str(number)] * 2
    assert await _unsent(pool) == []


async def test_one_relay_has_the_turn(pool: asyncpg.Pool, relay: Relay, add_outbox: Add) -> None:
    """While another relay holds the turn this one sends nothing; the turn ends with its transaction."""
    number = await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(1))
    async with Outbox(pool).turn() as turn:
        assert turn is not None
        assert await relay.step() is False
        assert await _unsent(pool) == [number]
    async with Outbox(pool).turn() as turn:
        assert turn is not None


async def test_a_frozen_relay_loses_its_turn(pool: asyncpg.Pool, settings: Settings) -> None:
    """A relay that holds the turn and does nothing is put out by the database, and another takes it."""
    frozen = await asyncpg.connect(settings.database)
    await frozen.execute("SET idle_in_transaction_session_timeout = '200ms'")
    transaction = frozen.transaction()
    await transaction.start()
    assert await frozen.fetchval("SELECT pg_try_advisory_xact_lock(hashtext('publishing_outbox'))")
    async with asyncio.timeout(10):
        while True:
            async with Outbox(pool).turn() as turn:
                if turn is not None:
                    break
            await asyncio.sleep(0.05)
    assert frozen.is_closed()


async def test_what_waits_is_measured(relay: Relay, add_outbox: Add) -> None:
    """The gauges say how many rows wait and how old the oldest is, in seconds."""
    await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(1), created_at=NOW - dt.timedelta(seconds=90))
    await add_outbox(PUBLICATION_CHANGED.name, payload=_changed(2))
    await relay.measure()
    assert REGISTRY.get_sample_value("tidewire_outbox_unsent_rows") == 2
    assert REGISTRY.get_sample_value("tidewire_outbox_oldest_seconds") == 90
