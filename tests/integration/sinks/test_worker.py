"""A sink sends what was planned, once, and says so."""

import base64
import json
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import pytest

from schemas.frames import KINDS
from tests.fakes.sink_stage import Providers, SinkProcess, Stage
from topics.catalog import DELIVERY, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

MakeTopics = Callable[..., Awaitable[None]]
StartSink = Callable[..., SinkProcess]
SENDER = {"sender": "News <news@example.org>"}
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


async def test_accepted_equals_the_providers_log(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """Every planned mail is accepted, stands once in the provider's log, and has one receipt."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    readers = await stage.subscribers(60)
    planned = await stage.plan("email", channel, readers, await stage.content(3))
    # The same frame twice: what is claimed is never claimed again.
    await stage.emit("email", planned.frame, planned.frame, shard=planned.shard)
    sink = start_sink("email")
    await stage.settled(planned, {"accepted": 60})
    log = providers.log("ses")
    assert Counter(row["tags"]["delivery"] for row in log) == Counter(planned.keys())
    assert {to for row in log for to in row["to"]} == {f"reader{number}@example.org" for number in readers}
    stored = {row["provider_message_id"] for row in await stage.pool.fetch("SELECT * FROM publishing_deliveries")}
    assert stored == {row["message_id"] for row in log}
    assert await sink.stop() == 0
    events = [event for frame in await stage.receipts() for event in frame.events]
    assert sorted(int(e["destination"]) for e in events) == sorted(readers)
    assert {str(KINDS[e["kind"]]) for e in events} == {"accepted"}
    assert await stage.pool.fetchval("SELECT count(*) FROM publishing_outbox WHERE sent_at IS NULL") == 0
    assert await stage.pool.fetchval("SELECT holds FROM analytics.conservation")
    assert await stage.pool.fetchval("SELECT next_offset FROM stream_offsets") == 2


@pytest.mark.parametrize("kind", ["slack", "discord", "webhook", "feed"])
async def test_rooms_get_every_article_in_one_message(
    kind: str, stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A room's fifty articles go out as one message that the provider's own checks accept."""
    await make_topics(DELIVERY[kind, "alert"], ENGAGEMENT_RECORDED)
    config = {
        "slack": {"webhook_url": providers.urls["slack"] + "/services/T0/B0/secret"},
        "discord": {"webhook_url": providers.urls["discord"] + "/api/webhooks/1/token"},
        "webhook": {"url": providers.urls["webhook"] + "/hook/main", "secret": SECRET},
        "feed": {"title": "Feed", "link": "https://example.org/", "description": "All"},
    }[kind]
    providers.secrets({"main": SECRET})
    channel, room = await stage.channel(kind, config)
    contents = await stage.content(50)
    planned = await stage.plan(kind, channel, [room], contents, lane="alert")
    await stage.emit(kind, planned.frame, shard=planned.shard, lane="alert")
    start_sink(kind, lane="alert")
    await stage.settled(planned, {"accepted": 1})
    if kind == "feed":
        rows = await stage.pool.fetch("SELECT guid, content_id FROM publishing_feed_entries")
        assert {row["guid"] for row in rows} == {f"{channel}-{number}" for number in contents}
        return
    (row,) = providers.log(kind)
    text = json.dumps(row)
    for number in range(1, 51):
        assert f"Article {number}" in text
    if kind == "webhook":
        assert row["webhook_id"] == f"dlv_{planned.run_id}_{channel}_{room}"
        assert [article["id"] for article in row["payload"]["data"]["articles"]] == list(contents)


async def test_checks_at_the_claim(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """Who was suppressed, unsubscribed or erased after the plan gets nothing, and the receipts say so."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    readers = await stage.subscribers(8)
    planned = await stage.plan("email", channel, readers, await stage.content(1))
    for number, scope in zip(readers, ("all", "email", f"channel:{channel}", "slack"), strict=False):
        await stage.pool.execute(
            "INSERT INTO publishing_suppressions VALUES ($1, $2, 'unsubscribed', 'test')", number, scope
        )
    await stage.pool.execute(
        "UPDATE publishing_subscribers SET status = 'erased', data_key = NULL, email_sealed = NULL WHERE id = $1",
        readers[4],
    )
    await stage.pool.execute("UPDATE publishing_subscribers SET status = 'paused' WHERE id = $1", readers[5])
    await stage.pool.execute(
        "UPDATE publishing_subscribers SET channels = '{\"email\": false}' WHERE id = $1", readers[6]
    )
    await stage.emit("email", planned.frame, shard=planned.shard)
    sink = start_sink("email")
    await stage.settled(planned, {"accepted": 2, "suppressed": 6})
    sent = {to for row in providers.log("ses") for to in row["to"]}
    assert sent == {f"reader{readers[3]}@example.org", f"reader{readers[7]}@example.org"}
    assert await sink.stop() == 0
    kinds = Counter(str(KINDS[e["kind"]]) for frame in await stage.receipts() for e in frame.events)
    assert kinds == {"accepted": 2, "suppressed": 6}


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ("UPDATE publishing_publications SET status = 'cancelled'", "cancelled"),
        ("UPDATE publishing_runs SET status = 'cancelled'", "cancelled"),
        ("UPDATE publishing_publications SET status = 'paused'", "deferred"),
        ("UPDATE publishing_channels SET status = 'disabled'", "failed"),
        ("UPDATE publishing_runs SET deadline_at = now() - interval '1 s'", "expired"),
        ("UPDATE publishing_content SET retracted = true", "cancelled"),
        ("UPDATE publishing_channels SET config_sealed = 'nonsense'", "failed"),
    ],
)
async def test_nothing_is_sent_against_the_editors_will(
    change: str, state: str, stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """What was cancelled, paused, disabled, retracted or has passed its deadline since the plan is not sent."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    planned = await stage.plan("email", channel, await stage.subscribers(3), await stage.content(1))
    await stage.pool.execute(change)
    await stage.emit("email", planned.frame, shard=planned.shard)
    start_sink("email")
    await stage.settled(planned, {state: 3})
    assert providers.log("ses") == []


async def test_only_what_was_planned_is_sent(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A frame's destination that its stored plan does not have is not sent to."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    readers = await stage.subscribers(3)
    planned = await stage.plan("email", channel, readers, await stage.content(1))
    await stage.pool.execute("UPDATE publishing_plans SET destinations = $1", list(readers[:2]))
    await stage.emit("email", planned.frame, shard=planned.shard)
    start_sink("email")
    await stage.settled(planned, {"accepted": 2})
    assert len(providers.log("ses")) == 2


async def test_answers_decide_the_state(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A lost answer is in doubt and never sent again, a throttle or a 500 is a retry, a refusal is the end."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    readers = await stage.subscribers(5)
    planned = await stage.plan("email", channel, readers, await stage.content(1))
    to = [f"reader{number}@" for number in readers]
    providers.script(
        "ses",
        {"match": {"to": to[0]}, "do": "reset_after_accept"},
        {"match": {"to": to[1]}, "do": "throttle"},
        {"match": {"to": to[2]}, "do": "status", "status": 500},
        {"match": {"to": to[3]}, "do": "status", "status": 400},
    )
    await stage.emit("email", planned.frame, shard=planned.shard)
    sink = start_sink("email")
    await stage.settled(planned, {"accepted": 1, "in_doubt": 1, "retry": 2, "failed": 1})
    rows = {row["destination"]: row for row in await stage.pool.fetch("SELECT * FROM publishing_deliveries")}
    assert rows[readers[0]]["state"] == "in_doubt"
    assert rows[readers[1]]["attempts"] == 0
    assert rows[readers[2]]["attempts"] == 1
    assert rows[readers[2]]["attempt_log"][0]["answer"]
    assert rows[readers[3]]["state"] == "failed"
    # A re-emitted frame takes what is due for a retry, and nothing else.
    providers.script("ses")
    await stage.pool.execute("UPDATE publishing_deliveries SET next_attempt_at = now() WHERE state = 'retry'")
    await stage.emit("email", planned.frame, shard=planned.shard)
    await stage.settled(planned, {"accepted": 3, "in_doubt": 1, "failed": 1})
    counts = Counter(row["tags"]["delivery"] for row in providers.log("ses"))
    assert max(counts.values()) == 1
    assert len(counts) == 4
    assert await sink.stop() == 0


async def test_a_dead_webhook_disables_its_channel(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A 410 disables the channel, and later deliveries fail without a request."""
    await make_topics(DELIVERY["webhook", "bulk"], ENGAGEMENT_RECORDED)
    channel, room = await stage.channel("webhook", {"url": providers.urls["webhook"] + "/hook/gone", "secret": SECRET})
    providers.secrets({"gone": SECRET})
    providers.script("webhook", {"match": {"name": "gone"}, "do": "status", "status": 410})
    contents = await stage.content(1)
    first = await stage.plan("webhook", channel, [room], contents)
    second = await stage.plan("webhook", channel, [room], contents)
    await stage.emit("webhook", first.frame, second.frame, shard=first.shard)
    start_sink("webhook")
    await stage.settled(first, {"failed": 1})
    await stage.settled(second, {"failed": 1})
    assert await stage.reasons(second) == {"channel_disabled"}
    assert await stage.pool.fetchval("SELECT status FROM publishing_channels") == "disabled"


async def test_deadline_of_the_frame(
    stage: Stage, providers: Providers, start_sink: StartSink, make_topics: MakeTopics
) -> None:
    """A frame whose deadline has passed when it arrives is not sent."""
    await make_topics(DELIVERY["email", "bulk"], ENGAGEMENT_RECORDED)
    channel, _ = await stage.channel("email", SENDER)
    planned = await stage.plan(
        "email",
        channel,
        await stage.subscribers(1),
        await stage.content(1),
        deadline_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    await stage.emit("email", planned.frame, shard=planned.shard)
    start_sink("email")
    await stage.settled(planned, {"expired": 1})
    assert providers.log("ses") == []
