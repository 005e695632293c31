"""Deliveries that nobody works on any more come back, or are put in doubt."""

import datetime as dt
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.structs import ConsumerRecord

from publishing.runtime.settings import Settings
from publishing.stores.leases import MAX_DOUBTFUL_ATTEMPTS, REEMIT_AFTER, SUBMITTED_GRACE, Leases
from schemas.codec import decode
from schemas.messages import DeliveryRequested
from streams.reemission import Reemission
from topics.catalog import DELIVERY

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 4, 5, 6, 7, tzinfo=dt.UTC)
LONG_AGO = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
SECOND = dt.timedelta(seconds=1)
Add = Callable[..., Awaitable[int]]
AddDelivery = Callable[..., Awaitable[None]]


@pytest.fixture
async def ledger(
    add_publication: Add, add_channel: Add, add_run: Add, add_delivery: AddDelivery
) -> Callable[..., Awaitable[None]]:
    """Add a delivery of one running run to a channel of the kind named."""
    publication = await add_publication(status="running", due_at=None)
    run = await add_run(publication)
    channels: dict[str, int] = {}

    async def add(destination: int, state: str, kind: str = "email", **columns: Any) -> None:
        if kind not in channels:
            channels[kind] = await add_channel(kind)
        await add_delivery(run, publication, channels[kind], destination, state, **columns)

    return add


async def _states(pool: asyncpg.Pool) -> dict[int, str]:
    return {row["destination"]: row["state"] for row in await pool.fetch("SELECT * FROM publishing_deliveries")}


async def test_a_lease_that_ended_while_claimed_is_safe_to_claim_again(pool: asyncpg.Pool, ledger: AddDelivery) -> None:
    """Claimed and expired becomes a retry that is due now and carries no claim; a live lease stays."""
    await ledger(1, "claimed", lease_until=NOW, claim_id=7)
    await ledger(2, "claimed", lease_until=NOW + SECOND, claim_id=7)
    moves = await Leases(pool).return_claimed(NOW, 10)
    assert dict(moves) == {("email", "bulk", "retry"): 1}
    assert await _states(pool) == {1: "retry", 2: "claimed"}
    row = await pool.fetchrow("SELECT * FROM publishing_deliveries WHERE destination = 1")
    assert row is not None
    assert (row["claim_id"], row["next_attempt_at"], row["lease_until"]) == (None, NOW, None)


async def test_a_lease_that_ended_while_submitted_is_a_doubt(pool: asyncpg.Pool, ledger: AddDelivery) -> None:
    """Submitted and expired for longer than the grace is in doubt, and no receipt is emitted for it."""
    await ledger(1, "submitted", lease_until=NOW - SUBMITTED_GRACE)
    await ledger(2, "submitted", lease_until=NOW)
    assert dict(await Leases(pool).doubt_submitted(NOW, 10)) == {("email", "bulk", "in_doubt"): 1}
    assert await _states(pool) == {1: "in_doubt", 2: "submitted"}
    assert await pool.fetchval("SELECT reason FROM publishing_deliveries WHERE destination = 1") == "lease_expired"
    assert await pool.fetchval("SELECT count(*) FROM publishing_outbox") == 0


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("email", "in_doubt"), ("slack", "in_doubt"), ("discord", "in_doubt"), ("webhook", "retry"), ("feed", "retry")],
)
async def test_only_an_idempotent_channel_is_sent_again(
    pool: asyncpg.Pool, ledger: AddDelivery, kind: str, expected: str
) -> None:
    """A webhook and a feed know a repeat by its id; e-mail, Slack and Discord stay in doubt, in sight."""
    await ledger(1, "in_doubt", kind, attempts=1)
    await Leases(pool).resend_doubtful(NOW, 10)
    assert await _states(pool) == {1: expected}
    waits_until = await pool.fetchval("SELECT next_attempt_at FROM publishing_deliveries")
    assert waits_until is None if expected == "in_doubt" else NOW <= waits_until <= NOW + 2 * SECOND


async def test_a_doubt_is_not_resent_for_ever(pool: asyncpg.Pool, ledger: AddDelivery) -> None:
    """After eight attempts a doubtful webhook stays in doubt."""
    await ledger(1, "in_doubt", "webhook", attempts=MAX_DOUBTFUL_ATTEMPTS)
    await Leases(pool).resend_doubtful(NOW, 10)
    assert await _states(pool) == {1: "in_doubt"}


async def test_due_retries_are_taken_once_in_30_s(pool: asyncpg.Pool, ledger: AddDelivery) -> None:
    """A retry that was emitted is left alone for 30 s; what is not due is not taken; the due time stays as it was."""
    await ledger(1, "retry", next_attempt_at=NOW)
    await ledger(2, "deferred", next_attempt_at=NOW - SECOND)
    await ledger(3, "retry", next_attempt_at=NOW + SECOND)
    await ledger(4, "accepted", next_attempt_at=NOW)
    store = Leases(pool)
    assert {one.destination for one in await store.claim_retries(NOW, 10)} == {1, 2}
    assert await store.claim_retries(NOW, 10) == []
    later = NOW + REEMIT_AFTER
    assert {one.destination for one in await store.claim_retries(later, 10)} == {1, 2, 3}
    assert await pool.fetchval("SELECT next_attempt_at FROM publishing_deliveries WHERE destination = 1") == NOW


@pytest.mark.parametrize("table", ["publishing_runs", "publishing_publications"])
async def test_what_is_paused_is_not_emitted(pool: asyncpg.Pool, ledger: AddDelivery, table: str) -> None:
    """Retries of a paused run or publication wait."""
    await ledger(1, "retry", next_attempt_at=NOW)
    await pool.execute(f"UPDATE {table} SET status = 'paused'")  # noqa: S608  - a name of this file
    assert await Leases(pool).claim_retries(NOW, 10) == []


async def test_retries_reach_their_topic_as_frames(
    pool: asyncpg.Pool,
    ledger: AddDelivery,
    producer: AIOKafkaProducer,
    settings: Settings,
    make_topics: Callable[..., Awaitable[None]],
    read_records: Callable[..., Awaitable[list[ConsumerRecord]]],
) -> None:
    """Retries of a chunk are one frame on the partition of their shard, with the plan's chunk number."""
    topic = DELIVERY["webhook", "alert"]
    await make_topics(topic)
    for destination in (3, 7, 2):
        await ledger(destination, "claimed", "webhook", lane="alert", lease_until=LONG_AGO, chunk=5)
    reemission = Reemission(Leases(pool), producer, settings, clock=lambda: NOW)
    assert await reemission.end_leases() is False
    assert await reemission.emit_due() is False
    records = await read_records(topic)
    frames = [decode(record.value, DeliveryRequested) for record in records]
    assert [(record.partition, frame.destinations) for record, frame in zip(records, frames, strict=True)] == [
        (2, (2,)),
        (3, (3, 7)),
    ]
    assert {frame.chunk for frame in frames} == {5}
    assert await reemission.emit_due() is False
    assert len(await read_records(topic)) == 2
