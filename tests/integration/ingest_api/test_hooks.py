"""Callbacks over the real broker, database and cache: whose they are, what they suppress, and that they count once."""

import asyncio
import base64
import contextlib
import dataclasses
import datetime as dt
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from ingest_api.auth import TokenRules
from ingest_api.edge import Edge
from ingest_api.front import Front
from ingest_api.hooks.receiving import Hooks
from ingest_api.management import management_api
from ingest_api.resources import Resources
from publishing.domain.outside_ids import outside_id
from publishing.domain.windows import NO_WATERMARK, Frame, fold
from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import suppressions_channel
from publishing.stores import suppressions
from publishing.stores.audit import Signature
from publishing.stores.channels import Channels, NewChannel
from publishing.stores.engagement import Advance, apply_engagement
from publishing.stores.offsets import Place
from publishing.stores.subscribers import Stored, SubscriberEntry, Subscribers
from schemas.frames import decode_frame
from schemas.messages import EngagementKind
from tests.fakes.amazon import TOPIC, Amazon, bounce, complaint, ses_event
from tests.fakes.durables import AwayDurable
from tests.fakes.hook_stage import PREVIOUS_KEY, WEBHOOK_KEY, collector_on, counted, webhook_headers
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

SIGNATURE = Signature(actor="tests", role="admin", request_id="r", traceparent="")
Records = Callable[..., Awaitable[list[Any]]]


@dataclasses.dataclass(slots=True)
class Installation:
    """An application with its services, two readers, a room, and a run of each."""

    client: httpx.AsyncClient
    resources: Resources
    amazon: Amazon
    pool: asyncpg.Pool
    readers: tuple[int, int]
    room: dict[str, Any]
    run_id: int
    publication_id: int

    async def sns(self, content: Any, **changes: Any) -> int:
        """Post a notification."""
        body = json.dumps(self.amazon.message(content, **changes))
        return (await self.client.post("/hooks/ses", content=body)).status_code

    async def call(self, body: Any, *, channel_id: int | None = None, **signed: Any) -> httpx.Response:
        """Post a callback of the room's receiving end."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        path = f"/hooks/webhook/{self.room['id'] if channel_id is None else channel_id}"
        return await self.client.post(path, content=content, headers=webhook_headers(content, **signed))


async def deliver(pool: asyncpg.Pool, run_id: int, publication_id: int, channel_id: int, destination: int) -> None:
    """Write an accepted delivery whose message number is the tests' own."""
    await pool.execute(
        "INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk, "
        "lane, state, content_ids, scores, arm, provider_message_id) "
        "SELECT run_day, id, $2, $3, $4, 0, 0, 'bulk', 'accepted', '{}', '{}', 1, 'ses-1' "
        "FROM publishing_runs WHERE id = $1",
        run_id,
        channel_id,
        destination,
        publication_id,
    )


async def seed(resources: Resources, pool: asyncpg.Pool) -> dict[str, Any]:
    """Two readers, a room, a run, and a delivery of it to the first reader and to the room."""
    shards = resources.settings.audience_shards
    entries = [SubscriberEntry(email=f"Reader{number}@example.com") for number in (1, 2)]
    stored = await Subscribers(pool, resources.sealer, shards=shards).write(entries, SIGNATURE)
    readers = tuple(one.id for one in stored if isinstance(one, Stored))
    secrets = {
        name: "whsec_" + base64.b64encode(key).decode()
        for name, key in (("secret", WEBHOOK_KEY), ("previous_secret", PREVIOUS_KEY))
    }
    channels = Channels(pool, resources.sealer, shards=shards)
    config = {"url": "https://example.org/hook", **secrets}
    validation = {"status": "untested", "detail": ""}
    room = await channels.create(
        NewChannel(kind="webhook", name="room", config=config, topics={}, limits={}, validation=validation), SIGNATURE
    )
    email = await channels.create(
        NewChannel(kind="email", name="mail", config={}, topics={}, limits={}, validation=validation), SIGNATURE
    )
    destination = await pool.fetchval("SELECT destination FROM publishing_channels WHERE id = $1", room["id"])
    publication_id = await pool.fetchval(
        "INSERT INTO publishing_publications (name, status, definition, created_by) "
        "VALUES ('p', 'running', $1, 'tests') RETURNING id",
        {"trigger": {"kind": "now"}},
    )
    run_id = await pool.fetchval(
        "INSERT INTO publishing_runs (publication_id, publication_version, due_at, shards) "
        "VALUES ($1, 1, now(), $2) RETURNING id",
        publication_id,
        shards,
    )
    await deliver(pool, run_id, publication_id, email["id"], readers[0])
    await deliver(pool, run_id, publication_id, room["id"], destination)
    room = room | {"destination": destination, "email": email["id"]}
    return {"readers": readers, "room": room, "run_id": run_id, "publication_id": publication_id}


@pytest.fixture
async def installation(
    settings: Settings, pool: asyncpg.Pool, make_topics: Callable[..., Awaitable[None]]
) -> AsyncIterator[Installation]:
    """The application with everything open."""
    await make_topics(ENGAGEMENT_RECORDED)
    resources = Resources(settings.model_copy(update={"sns_topic_arns": TOPIC}))
    api = management_api(resources)
    amazon = Amazon(utc_now())
    api.state.hooks = Hooks(resources, amazon)
    app = Front(Edge(api, TokenRules(secret="none", issuer="tests", audience="tidewire")), resources)
    async with contextlib.AsyncExitStack() as stack:
        await resources.start()
        stack.push_async_callback(resources.close)
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        client = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="http://tests"))
        yield Installation(client, resources, amazon, pool, **await seed(resources, pool))


async def events_of(records: Records, count: int | None = None) -> list[tuple[Any, ...]]:
    """(kind, run, publication, channel, destination, arm) of every event in the topic."""
    found = []
    for record in await records(ENGAGEMENT_RECORDED, count):
        for event in decode_frame(record.value).events:
            numbers = (int(event[name]) for name in ("run_id", "publication_id", "channel_id", "destination", "arm"))
            found.append((list(EngagementKind)[int(event["kind"])].value, *numbers))
    return sorted(found)


async def ids_of(records: Records) -> set[bytes]:
    """The ids of the events in the topic."""
    found = await records(ENGAGEMENT_RECORDED)
    return {event["event_id"].tobytes() for record in found for event in decode_frame(record.value).events}


async def test_every_destination_is_found(installation: Installation, records: Records) -> None:
    """Of several recipients each that is known has its event and is suppressed at once; a stranger is counted."""
    one = installation
    before = counted("hook_events_total", provider="ses", kind="bounced", outcome="unknown")
    addresses = ["reader1@EXAMPLE.com", "reader2@example.com", "stranger@example.com"]
    assert await one.sns(bounce(*addresses, messageId="ses-1", destination=addresses, tags={})) == 200
    first, second = one.readers
    whole = ("bounced", one.run_id, one.publication_id, one.room["email"], first, 1)
    assert await events_of(records) == sorted([whole, ("bounced", 0, 0, 0, second, 0)])
    assert len(await ids_of(records)) == 2
    assert counted("hook_events_total", provider="ses", kind="bounced", outcome="unknown") == before + 1
    for reader in one.readers:
        assert await suppressions.scopes_of(one.pool, reader) == {"email": "bounced"}


async def test_a_reader_who_has_moved(installation: Installation, records: Records) -> None:
    """A message to one, untagged, is of its delivery also when the address is not known any more; one to two is not."""
    one = installation
    complained = complaint("old@example.com", messageId="ses-2", destination=["old@example.com"], tags={})
    assert await one.sns(complained) == 200
    await one.pool.execute(
        "UPDATE publishing_deliveries SET provider_message_id = 'ses-2' WHERE channel_id = $1", one.room["email"]
    )
    assert await one.sns(complained, MessageId="another") == 200
    both = ["old@example.com", "stranger@example.com"]
    of_two = complaint("stranger@example.com", messageId="ses-2", destination=both, tags={})
    assert await one.sns(of_two, MessageId="third") == 200
    assert await events_of(records) == [
        ("complained", one.run_id, one.publication_id, one.room["email"], one.readers[0], 1)
    ]


async def test_a_tag_of_before_finds_its_publication(installation: Installation, records: Records) -> None:
    """A message that was tagged with its delivery alone gets publication and arm from the database."""
    one = installation
    tag = f"{one.run_id}-{one.room['email']}-{one.readers[0]}"
    assert await one.sns(bounce(tags={"delivery": [tag]})) == 200
    assert await events_of(records) == [
        ("bounced", one.run_id, one.publication_id, one.room["email"], one.readers[0], 1)
    ]


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (complaint(), {"email": "complained"}),
        (bounce(), {"email": "bounced"}),
        (bounce(kind="Transient", status="4.4.7"), {"email": "bounced"}),
        (bounce(kind="Transient", status="4.2.2"), {}),
        (
            ses_event(
                "Subscription",
                {
                    "subscription": {
                        "newTopicPreferences": {"unsubscribeAll": True},
                        "timestamp": "2026-02-02T09:00:00Z",
                    }
                },
            ),
            {"channel:3": "unsubscribed"},
        ),
    ],
    ids=["complaint", "permanent", "lasting", "transient", "subscription"],
)
async def test_suppressed_at_once(
    installation: Installation, settings: Settings, event: dict[str, Any], expected: dict[str, str]
) -> None:
    """A complaint, a permanent bounce and an unsubscription write the row and announce it before they are answered."""
    async with Redis.from_url(settings.redis) as client, client.pubsub() as subscribed:
        await subscribed.subscribe(suppressions_channel(settings))
        assert await installation.sns(event) == 200
        assert await suppressions.scopes_of(installation.pool, 41) == expected
        said: list[Any] = []
        deadline_s = asyncio.get_running_loop().time() + (5 if expected else 0.2)
        while len(said) < len(expected) and asyncio.get_running_loop().time() < deadline_s:
            message = await subscribed.get_message(ignore_subscribe_messages=True, timeout=0.2)
            said += [json.loads(message["data"])] if message else []
    assert said == [{"destination": 41, "scope": scope} for scope in expected]


async def test_sns_twice_is_counted_once(installation: Installation, records: Records) -> None:
    """Fault R21: what SNS delivers twice, in two frames and two batches, is one event in every window."""
    assert [await installation.sns(bounce()) for _ in range(2)] == [200, 200]
    found = await records(ENGAGEMENT_RECORDED, 2)
    assert len(found) == 2
    watermark_ms, repeated = NO_WATERMARK, 0
    place = Place(ENGAGEMENT_RECORDED.name, 1)
    for offset, record in enumerate(found):
        decoded = decode_frame(record.value)
        folded = fold([Frame(decoded.events, decoded.recorded_at_ms, record.timestamp)], watermark_ms)
        advance = Advance("engagement", place, offset, offset + 1)
        repeated += (await apply_engagement(installation.pool, advance, folded)).repeated
        watermark_ms = folded.watermark_ms
    assert repeated == 1
    totals = await installation.pool.fetch("SELECT grain, total FROM publishing_analytics ORDER BY grain")
    assert [tuple(row) for row in totals] == [("day", 1), ("hour", 1), ("minute", 1)]


def callback(one: Installation, kind: str = "opened", **changes: Any) -> dict[str, Any]:
    """A callback of the room about its delivery."""
    about = {"delivery": f"dlv_{one.run_id}_{one.room['id']}_{one.room['destination']}"} | changes
    return {"type": kind, "timestamp": "2026-02-02T09:00:00Z", "data": about}


@pytest.mark.parametrize("kind", ["delivered", "opened", "clicked", "failed"])
async def test_webhooks(installation: Installation, records: Records, kind: str) -> None:
    """A callback of each type is an event of the room's delivery, signed by the present secret or the one before."""
    one = installation
    assert (await one.call(callback(one, kind))).status_code == 200
    by_run = {"type": kind, "timestamp": "2026-02-02T10:00:00+01:00", "data": {"run_id": one.run_id}}
    assert (await one.call(by_run, key=PREVIOUS_KEY)).status_code == 200
    expected = (kind, one.run_id, one.publication_id, one.room["id"], one.room["destination"], 1)
    assert await events_of(records) == [expected, expected]
    assert await ids_of(records) == {outside_id(f"webhook/{one.room['id']}", "msg_1")}


async def test_a_callback_that_is_not_durable_comes_again(installation: Installation) -> None:
    """While nothing can be kept a receiving end is told to come again."""
    installation.resources.collector = collector_on(AwayDurable())
    for kind in ("delivered", "opened"):
        answer = await installation.call(callback(installation, kind))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_webhooks_are_judged(installation: Installation, records: Records) -> None:
    """Who opened is judged when the receiving end says it, and is unknown when it does not."""
    agents: tuple[dict[str, str], ...] = ({"user_agent": "curl/8.5", "ip_address": "192.0.2.1"}, {})
    for number, agent in enumerate(agents):
        assert (await installation.call(callback(installation, **agent), webhook_id=f"m{number}")).status_code == 200
    found = await records(ENGAGEMENT_RECORDED)
    assert np.concatenate([decode_frame(one.value).events["verdict"] for one in found]).tolist() == [2, 0]


async def test_webhooks_that_are_refused(installation: Installation) -> None:
    """A stranger's key, another channel, a changed body, an old one: all are answered alike, and nothing is kept."""
    one = installation
    body = json.dumps(callback(one)).encode()
    late_s = int((utc_now() - dt.timedelta(minutes=6)).timestamp())
    answers = [
        await one.call(body, key=bytes(32)),
        await one.call(body, at_s=late_s),
        await one.call(body, channel_id=999),
        await one.call(body, channel_id=one.room["email"]),
        await one.client.post(f"/hooks/webhook/{one.room['id']}", content=body + b" ", headers=webhook_headers(body)),
        await one.client.post(f"/hooks/webhook/{one.room['id']}", content=body),
    ]
    assert [answer.status_code for answer in answers] == [403] * 6
    assert len({answer.text for answer in answers}) == 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"type": "teapot"}, "type"),
        ({"timestamp": "now"}, "timestamp"),
        ({"timestamp": "2026-02-02T09:00:00"}, "timestamp"),
        ({"timestamp": "1970-02-02T09:00:00Z"}, "timestamp"),
        ({"data": {}}, "data.run_id"),
        ({"data": {"run_id": 0}}, "data.run_id"),
        ({"data": {"delivery": "dlv_1_2_3"}}, "data.delivery"),
        ({"data": {"delivery": "canary"}}, "data.delivery"),
    ],
)
async def test_malformed_webhooks(installation: Installation, change: dict[str, Any], field: str) -> None:
    """A callback that is signed and malformed is refused by its field, another channel's delivery as well."""
    answer = await installation.call(callback(installation) | change)
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]
    assert (await installation.call(b"{")).status_code == 400


async def test_webhooks_about_nothing(installation: Installation) -> None:
    """A run that is unknown is counted in a metric and answered 200: to come again would not help."""
    before = counted("hook_events_total", provider="webhook", kind="opened", outcome="unknown")
    body = {"type": "opened", "timestamp": "2026-02-02T09:00:00Z", "data": {"run_id": 10**6}}
    assert (await installation.call(body)).status_code == 200
    assert counted("hook_events_total", provider="webhook", kind="opened", outcome="unknown") == before + 1


async def test_a_secret_that_does_not_open(installation: Installation) -> None:
    """A channel whose configuration is not its own signs nothing; a new version is opened anew."""
    one = installation
    assert (await one.call(callback(one))).status_code == 200
    await one.pool.execute(
        "UPDATE publishing_channels SET config_sealed = '\\x00', version = version + 1 WHERE id = $1", one.room["id"]
    )
    assert (await one.call(callback(one))).status_code == 403
