"""A sink that dies, freezes or is cut off sends nothing twice and loses nothing."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.domain.ledger import State
from publishing.stores import deliveries
from publishing.stores.deliveries import FenceLostError, Frame, Result
from publishing.stores.offsets import Place
from tests.fakes.sink_stage import Planned, Providers, SinkProcess, Stage
from topics.catalog import DELIVERY, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.faults

MakeTopics = Callable[..., Awaitable[None]]
StartSink = Callable[..., SinkProcess]
SENDER = {"sender": "News <news@example.org>"}
CLAIMANT = deliveries.Claimant("sink-email-bulk")
TOPIC = DELIVERY["email", "bulk"]


async def planned_mails(stage: Stage, make_topics: MakeTopics, count: int, *, per_second: float = 1_000) -> Planned:
    """A run of so many mails, its frame in the log."""
    await make_topics(TOPIC, ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER, per_second=per_second)
    planned = await stage.plan("email", channel, await stage.subscribers(count), await stage.content(1))
    await stage.emit("email", planned.frame, shard=planned.shard)
    return planned


async def leases_end(stage: Stage) -> None:
    """As if a minute had passed: every lease is over."""
    await stage.pool.execute("UPDATE publishing_deliveries SET lease_until = now() - interval '1 s'")


@pytest.mark.parametrize(
    ("point", "submitted", "accepted"),
    [
        ("sink.after_poll", 0, 0),
        ("sink.after_claim", 0, 0),
        ("sink.after_render", 0, 0),
        ("sink.after_submit", 10, 0),
        ("sink.after_accept", 10, 10),
    ],
)
async def test_killed_sink_is_never_a_blind_resend(
    point: str,
    submitted: int,
    accepted: int,
    stage: Stage,
    providers: Providers,
    start_sink: StartSink,
    make_topics: MakeTopics,
) -> None:
    """Kill -9 at any line: exactly what was submitted stays in doubt, the rest is sent once by the successor."""
    # A burst of ten: the first group is ten of twelve.
    planned = await planned_mails(stage, make_topics, 12, per_second=10)
    sink = start_sink("email", failpoints=f"{point}:1:KILL")
    await sink.killed_by(signal.SIGKILL)
    assert f"HIT {point}" in sink.errors
    assert len(providers.log("ses")) == accepted
    assert (await stage.states(planned)).get("submitted", 0) == submitted
    await leases_end(stage)
    start_sink("email")
    # The scheduler re-emits what was claimed and never submitted; the frame is the same.
    await stage.emit("email", planned.frame, shard=planned.shard)
    wanted = {"accepted": 12 - submitted} | ({"submitted": submitted} if submitted else {})
    await stage.settled(planned, wanted)
    counts = Counter(row["tags"]["delivery"] for row in providers.log("ses"))
    assert max(counts.values()) == 1
    assert len(counts) == 12 - submitted + accepted


async def test_killed_after_the_record_leaves_receipts_to_the_relay(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """Kill -9 between record and produce: the ledger is settled, and the outbox holds the receipts."""
    planned = await planned_mails(stage, make_topics, 5)
    sink = start_sink("email", failpoints="sink.after_record:1:KILL")
    await sink.killed_by(signal.SIGKILL)
    assert await stage.states(planned) == {"accepted": 5}
    rows = await stage.pool.fetch("SELECT * FROM publishing_outbox WHERE sent_at IS NULL AND frame IS NOT NULL")
    assert len(rows) == 1
    assert len(providers.log("ses")) == 5


def frame_of(planned: Planned) -> Frame:
    """The frame of a plan as the store takes it."""
    count = len(planned.destinations)
    return Frame(
        run_id=planned.run_id,
        channel_id=planned.channel_id,
        kind="email",
        shard=planned.shard,
        chunk=0,
        lane="bulk",
        template_id=0,
        template_version=0,
        deadline_at=None,
        destinations=planned.destinations,
        arms=(0,) * count,
        content_ids=(planned.content_ids,) * count,
        scores=((0.5,),) * count,
    )


async def planned_rows(stage: Stage, count: int) -> Planned:
    """A plan without a broker."""
    channel, _ = await stage.channel("email", SENDER)
    return await stage.plan("email", channel, await stage.subscribers(count), await stage.content(1))


async def test_a_zombie_submits_nothing(stage: Stage) -> None:
    """A claim whose lease has ended, or that another claim has replaced, moves no row to submitted."""
    planned = await planned_rows(stage, 3)
    place = Place(TOPIC.name, 0)
    zombie = await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=0, after=1)
    assert len(zombie.slots) == 3
    await leases_end(stage)
    assert await deliveries.submit(stage.pool, zombie, planned.destinations) == (frozenset(), {})
    successor = await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=1, after=2)
    assert len(successor.slots) == 3
    assert await deliveries.submit(stage.pool, zombie, planned.destinations) == (frozenset(), {})
    sendable, refused = await deliveries.submit(stage.pool, successor, planned.destinations)
    assert (sendable, refused) == (frozenset(planned.destinations), {})
    # A second submission of the same claim sends nothing either.
    assert await deliveries.submit(stage.pool, successor, planned.destinations) == (frozenset(), {})


async def test_a_fenced_worker_claims_nothing(stage: Stage) -> None:
    """A worker that expects another offset than the stored one changes nothing at all."""
    planned = await planned_rows(stage, 3)
    place = Place(TOPIC.name, 0)
    first = await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=0, after=1)
    assert first.slots
    with pytest.raises(FenceLostError):
        await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=0, after=1)
    with pytest.raises(FenceLostError):
        await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=7, after=8)
    assert await stage.pool.fetchval("SELECT next_offset FROM stream_offsets") == 1
    again = await deliveries.claim(stage.pool, CLAIMANT, place, frame_of(planned), expected=1, after=2)
    assert again.slots == ()


async def test_suppressed_between_claim_and_submission(stage: Stage) -> None:
    """A suppression that is written after the claim still stops the mail, and only that one."""
    planned = await planned_rows(stage, 3)
    claim = await deliveries.claim(stage.pool, CLAIMANT, Place(TOPIC.name, 0), frame_of(planned), expected=0, after=1)
    await stage.pool.execute(
        "INSERT INTO publishing_suppressions VALUES ($1, 'all', 'unsubscribed', 'test')", planned.destinations[1]
    )
    sendable, refused = await deliveries.submit(stage.pool, claim, planned.destinations)
    assert sendable == {planned.destinations[0], planned.destinations[2]}
    assert refused == {planned.destinations[1]: (State.SUPPRESSED, "unsubscribed")}


async def test_results_are_written_whole_or_not_at_all(stage: Stage) -> None:
    """When one row has another owner, nothing is written, and the rows that are still ours are named."""
    planned = await planned_rows(stage, 2)
    claim = await deliveries.claim(stage.pool, CLAIMANT, Place(TOPIC.name, 0), frame_of(planned), expected=0, after=1)
    await deliveries.submit(stage.pool, claim, planned.destinations)
    await stage.pool.execute(
        "UPDATE publishing_deliveries SET claim_id = NULL, state = 'retry' WHERE destination = $1",
        planned.destinations[0],
    )
    results = [Result(destination=number, state=State.ACCEPTED) for number in planned.destinations]
    recorded = await deliveries.record(stage.pool, claim, results, None)
    assert not recorded.is_whole
    assert recorded.held == {planned.destinations[1]}
    assert await stage.states(planned) == {"retry": 1, "submitted": 1}
    assert (await deliveries.record(stage.pool, claim, results[1:], None)).is_whole


async def test_a_frozen_sink_sends_nothing_after_its_successor(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """SIGSTOP after the claim, a successor that sends all, SIGCONT: the zombie adds no mail."""
    planned = await planned_mails(stage, make_topics, 6)
    zombie = start_sink("email", failpoints="sink.after_render:1:STOP")
    await zombie.until(lambda: "HIT sink.after_render" in zombie.errors)
    assert (await stage.states(planned)) == {"claimed": 6}
    await leases_end(stage)
    successor = start_sink("email")
    # The frozen member has to be put out of the group first.
    await stage.emit("email", planned.frame, shard=planned.shard)
    await stage.settled(planned, {"accepted": 6}, within_s=40)
    os.kill(zombie.process.pid, signal.SIGCONT)
    await stage.emit("email", planned.frame, shard=planned.shard)
    await asyncio.sleep(2.0)
    assert await successor.stop() == 0
    assert Counter(row["tags"]["delivery"] for row in providers.log("ses")) == Counter(planned.keys())


async def test_a_stopped_sink_gives_back_what_it_has_not_sent(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """SIGTERM under load: exit 0 within 10 s, what was in flight is recorded, the rest is due again."""
    planned = await planned_mails(stage, make_topics, 40, per_second=4)
    sink = start_sink("email")
    await sink.until(lambda: len(providers.log("ses")) > 0)
    assert await sink.stop(within_s=10) == 0
    states = await stage.states(planned)
    assert set(states) == {"accepted", "retry"}
    assert states["accepted"] == len(providers.log("ses"))
    start_sink("email")
    await stage.pool.execute("UPDATE publishing_channels SET limits = '{}', version = version + 1")
    await stage.emit("email", planned.frame, shard=planned.shard)
    await stage.settled(planned, {"accepted": 40})
    assert Counter(row["tags"]["delivery"] for row in providers.log("ses")) == Counter(planned.keys())


async def test_poison_goes_alone_to_the_dlq(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A record that is no frame is buried with its reason; its neighbours are sent."""
    await make_topics(TOPIC, ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    planned = await stage.plan("email", channel, await stage.subscribers(2), await stage.content(1))
    missing = await stage.plan("email", channel, await stage.subscribers(1), await stage.content(1))
    await stage.pool.execute("DELETE FROM publishing_run_shards WHERE run_id = $1", missing.run_id)
    await stage.pool.execute("DELETE FROM publishing_plans WHERE run_id = $1", missing.run_id)
    await stage.pool.execute("DELETE FROM publishing_runs WHERE id = $1", missing.run_id)
    await stage.emit("email", b"poison", missing.frame, planned.frame, b"", shard=planned.shard)
    sink = start_sink("email")
    await stage.settled(planned, {"accepted": 2})
    async with asyncio.timeout(15):
        while await stage.pool.fetchval("SELECT next_offset FROM stream_offsets") != 4:  # noqa: ASYNC110  - a row
            await asyncio.sleep(0.05)
    assert await sink.stop() == 0
    consumer = AIOKafkaConsumer(bootstrap_servers=stage.settings.kafka, auto_offset_reset="earliest")
    await consumer.start()
    try:
        place = TopicPartition(TOPIC.dlq.named(stage.settings.topic_prefix), 0)
        consumer.assign([place])
        buried = [await consumer.getone() for _ in range(3)]
    finally:
        await consumer.stop()
    headers = [dict(record.headers) for record in buried]
    assert [h["source_offset"] for h in headers] == [b"0", b"1", b"3"]
    assert [h["reason"] for h in headers] == [b"malformed", b"unknown_run", b"malformed"]
    assert buried[0].value == b"poison"


async def test_a_bad_deploy_stops_instead_of_burying_everything(
    stage: Stage, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """When everything is poison the worker exits 1 at the limit, and the offset stays."""
    await make_topics(TOPIC, ENGAGEMENT_RECORDED)
    await stage.emit("email", *[b"poison"] * 60, shard=0)
    sink = start_sink("email")
    await sink.until(lambda: sink.process.poll() is not None, within_s=30)
    sink.read()
    assert sink.process.returncode == 1
    assert "BurialLimitError" in sink.errors
    assert await stage.pool.fetchval("SELECT next_offset FROM stream_offsets") < 60


async def test_a_database_that_is_away_is_waited_for(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """Connections that the server ends under load cost nothing: each mail is sent once and settled."""
    planned = await planned_mails(stage, make_topics, 60, per_second=30)
    start_sink("email")
    for _ in range(8):
        await stage.pool.execute(
            """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'tidewire-sink%'"""
        )
        await asyncio.sleep(0.2)
    async with asyncio.timeout(40):
        while not (states := await stage.states(planned)) or {"claimed", "retry"} & set(states):
            await asyncio.sleep(0.2)
            await leases_of_claims_end(stage)
            await stage.emit("email", planned.frame, shard=planned.shard)
    counts = Counter(row["tags"]["delivery"] for row in providers.log("ses"))
    assert max(counts.values()) == 1
    states = await stage.states(planned)
    assert set(states) <= {"accepted", "submitted", "in_doubt"}
    assert states["accepted"] <= len(counts)


async def leases_of_claims_end(stage: Stage) -> None:
    """As if a minute had passed for what was claimed under an answer that was lost."""
    await stage.pool.execute(
        """UPDATE publishing_deliveries SET lease_until = now() - interval '1 s'
           WHERE state = 'claimed' AND claimed_at < now() - interval '5 s'"""
    )
