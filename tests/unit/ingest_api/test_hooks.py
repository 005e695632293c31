"""What callbacks do, without any service: what is kept, what is answered, and what is told to nobody."""

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import pytest

from ingest_api.hooks.refusals import MAX_HOOK_BYTES
from ingest_api.limits import MAX_JSON_DEPTH
from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.domain.outside_ids import outside_id
from publishing.domain.tracking import TrackingPolicy
from schemas.frames import VERDICT_INDEX
from schemas.messages import Verdict
from tests.fakes.amazon import CERT_URL, TOPIC, bounce, complaint, ses_event
from tests.fakes.hook_stage import HookStage, counted, hook_stage, slack_headers, stage_settings, webhook_headers

pytestmark = pytest.mark.unit

BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36"
AT = "2026-02-02T09:00:07.000Z"
# With the object around it, JSON of one level more than is decoded here.
DEEP = json.loads("[" * MAX_JSON_DEPTH + "]" * MAX_JSON_DEPTH)


@pytest.fixture
async def stage() -> AsyncIterator[HookStage]:
    """The application."""
    async with hook_stage() as one:
        yield one


def touch(name: str, agent: str = BROWSER, link: str | None = None) -> dict[str, Any]:
    """An open or a click that SES has seen."""
    part = {"ipAddress": "192.0.2.1", "timestamp": AT, "userAgent": agent} | ({"link": link} if link else {})
    return ses_event(name, {name.lower(): part})


def our_link(stage: HookStage, *, run_id: int = 77) -> str:
    """A tracked link of the room 41 in run 77."""
    ring = stage.resources.tracking
    article = sign_article(ring, run_id=77, content_id=9, link=1, url="https://example.org/a")
    reader = sign_reader(
        ring, purpose=Purpose.CLICK, run_id=run_id, publication_id=12, channel_id=3, destination=41, arm=1
    )
    return f"https://t.example.org/c/{article}/{reader}"


async def test_an_event_of_ses(stage: HookStage) -> None:
    """A tagged message needs no database: the event has every number, and the id of its message."""
    message = stage.amazon.message(complaint())
    assert (await stage.sns(message)).status_code == 200
    event = stage.events[0]
    names = ("run_id", "publication_id", "channel_id", "destination", "arm", "occurred_at", "flags")
    assert [int(event[name]) for name in names] == [77, 12, 3, 41, 1, 1_770_026_400_000, 1]
    assert event["event_id"].tobytes() == outside_id("sns", f"{message['MessageId']}/0")
    assert stage.kinds() == ["complained"]


async def test_sns_twice(stage: HookStage) -> None:
    """A message that SNS delivers twice is the same event twice, by its id and its time (fault R21)."""
    message = stage.amazon.message(bounce())
    assert [(await stage.sns(message)).status_code for _ in range(2)] == [200, 200]
    first, second = stage.events
    assert first == second
    assert stage.amazon.fetched == [CERT_URL]


@pytest.mark.parametrize(("agent", "verdict"), [(BROWSER, Verdict.HUMAN), ("curl/8.5", Verdict.MACHINE)])
@pytest.mark.parametrize("name", ["Open", "Click"])
async def test_touches_are_judged(stage: HookStage, name: str, agent: str, verdict: Verdict) -> None:
    """An open or a click that SES has seen is judged by its own agent, not by Amazon's."""
    assert (await stage.sns(stage.amazon.message(touch(name, agent)))).status_code == 200
    assert int(stage.events[0]["verdict"]) == VERDICT_INDEX[verdict]


async def test_our_own_links_are_counted_by_ourselves(stage: HookStage) -> None:
    """A click on a link of ours comes to us in any case: SES's word of it is no second click."""
    before = counted("hook_events_total", provider="ses", kind="clicked", outcome="ignored")
    assert (await stage.sns(stage.amazon.message(touch("Click", link=our_link(stage))))).status_code == 200
    assert stage.kept.frames == []
    assert counted("hook_events_total", provider="ses", kind="clicked", outcome="ignored") == before + 1
    assert (await stage.sns(stage.amazon.message(touch("Click", link="https://example.org/")))).status_code == 200
    assert stage.kinds() == ["clicked"]


@pytest.mark.parametrize(
    ("policy", "kept"), [("off", []), ("anonymous", [0]), ("pseudonymous", [41]), ("identified", [41])]
)
async def test_the_tracking_policy_holds(policy: str, kept: list[int]) -> None:
    """What the policy does not keep of a reader is not kept of SES's opens either."""
    async with hook_stage(stage_settings(tracking_policy=policy)) as stage:
        assert (await stage.sns(stage.amazon.message(touch("Open")))).status_code == 200
        assert [int(number) for number in (stage.events["destination"] if stage.kept.frames else [])] == kept


@pytest.mark.parametrize(
    "content",
    [
        "Successfully validated SNS topic for Amazon SES event publishing.",
        json.dumps({"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have subscribed"}),
        ses_event("Send", {"send": {}}),
    ],
)
async def test_notices(stage: HookStage, content: Any) -> None:
    """What is no event is answered 200 and kept nowhere."""
    assert (await stage.sns(stage.amazon.message(content))).status_code == 200
    assert stage.kept.frames == []


async def test_confirmations(stage: HookStage) -> None:
    """A subscription is confirmed once it is verified; the end of one is told and never taken back."""
    message = stage.amazon.confirmation()
    assert (await stage.sns(message)).status_code == 200
    assert stage.amazon.fetched == [CERT_URL, message["SubscribeURL"]]
    assert (await stage.sns(stage.amazon.confirmation(Type="UnsubscribeConfirmation"))).status_code == 200
    assert len(stage.amazon.fetched) == 2
    stage.amazon.is_away = True
    assert (await stage.sns(message)).status_code == 503


async def test_what_only_the_database_knows_comes_again(stage: HookStage) -> None:
    """Without a tag, or with several recipients, the database is asked; while it is away SNS is told to come again."""
    for content in (
        bounce(tags={}),
        bounce(destination=["a@example.com", "b@example.com"]),
        bounce(tags={"delivery": ["77-3-41x"]}),
    ):
        answer = await stage.sns(stage.amazon.message(content))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert stage.kept.frames == []


async def test_a_tag_of_before(stage: HookStage) -> None:
    """A message tagged with the delivery alone is kept without its publication rather than lost."""
    assert (await stage.sns(stage.amazon.message(bounce(tags={"delivery": ["77-3-41"]})))).status_code == 200
    assert [int(stage.events[0][name]) for name in ("run_id", "publication_id", "destination")] == [77, 0, 41]


async def test_what_is_not_durable_comes_again(stage: HookStage) -> None:
    """While nothing can be kept every hook answers 503."""
    stage.lose_broker()
    answer = await stage.sns(stage.amazon.message(bounce()))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await clicked(stage, {"value": our_link(stage)})).status_code == 503


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ("{", "Message"),
        (ses_event("Send", {"x": DEEP}), "Message"),
        ({"eventType": "Teapot"}, "Message.eventType"),
        (ses_event("Bounce", {}), "Message.bounce"),
    ],
)
async def test_malformed_events(stage: HookStage, content: Any, field: str) -> None:
    """A message that Amazon signed and that is no event of SES is refused by its field."""
    answer = await stage.sns(stage.amazon.message(content))
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]


@pytest.mark.parametrize("path", ["/hooks/ses", "/hooks/slack", "/hooks/webhook/3"])
async def test_large_bodies(stage: HookStage, path: str) -> None:
    """A body above the limit is refused before it is looked at."""
    answer = await stage.client.post(path, content=b"x" * (MAX_HOOK_BYTES + 1))
    assert answer.status_code == 413


async def test_only_posts(stage: HookStage) -> None:
    """A hook knows one method, asks for no token, and none of the management API's addresses leads to it."""
    assert (await stage.client.get("/hooks/ses")).status_code == 405
    assert (await stage.client.post("/hooks/ses", content=b"{}")).status_code == 400
    assert (await stage.client.post("/api/v1/publishing/hooks/ses", content=b"{}")).status_code == 401


async def clicked(stage: HookStage, *actions: dict[str, Any], trigger: str | None = "1.2.abc", **changes: str) -> Any:
    """Post clicks on buttons, signed by Slack."""
    button = {"type": "button", "action_id": "a", "action_ts": "1770026407.840180"}
    payload: dict[str, Any] = {"type": "block_actions", "user": {"id": "U1", "name": "canary"}, "trigger_id": trigger}
    payload["actions"] = [button | one for one in actions]
    body = urlencode({"payload": json.dumps(payload)}).encode()
    return await stage.client.post("/hooks/slack", content=body, headers=slack_headers(body) | changes)


async def test_slack_buttons(stage: HookStage) -> None:
    """A button whose value is our link is a click of its room by a person, once however often Slack says it."""
    for _ in range(2):
        assert (await clicked(stage, {"value": our_link(stage)})).status_code == 200
    first, second = stage.events
    assert first == second
    names = ("run_id", "publication_id", "channel_id", "destination", "arm", "content_id", "link", "occurred_at")
    assert [int(first[name]) for name in names] == [77, 12, 3, 41, 1, 9, 1, 1_770_026_407_840]
    assert int(first["verdict"]) == VERDICT_INDEX[Verdict.HUMAN]
    assert first["event_id"].tobytes() == outside_id("slack", "1.2.abc/0")


async def test_two_buttons_at_once_are_two_clicks(stage: HookStage) -> None:
    """Actions of one payload share its trigger and are told apart by their place."""
    assert (await clicked(stage, {"value": our_link(stage)}, {"value": our_link(stage)})).status_code == 200
    assert [one.tobytes() for one in stage.events["event_id"]] == [outside_id("slack", f"1.2.abc/{n}") for n in (0, 1)]


async def test_slack_buttons_without_a_trigger(stage: HookStage) -> None:
    """An action without a trigger is named by its time."""
    assert (await clicked(stage, {"value": our_link(stage)}, trigger=None)).status_code == 200
    assert stage.events[0]["event_id"].tobytes() == outside_id("slack", "1770026407.840180/0")


async def test_slack_buttons_that_are_not_counted(stage: HookStage) -> None:
    """A link that the browser opens is counted there; what is not ours, or of two runs, is no click."""
    actions: tuple[dict[str, Any], ...] = (
        {"url": our_link(stage)},
        {"url": our_link(stage), "value": our_link(stage)},
        {"value": "https://example.org/c/a/b"},
        {"value": our_link(stage)[:-1]},
        {"value": our_link(stage, run_id=78)},
        {},
    )
    assert (await clicked(stage, *actions)).status_code == 200
    assert stage.kept.frames == []


async def test_slack_follows_the_policy_of_the_letter(stage: HookStage) -> None:
    """A link that was signed to keep nothing keeps nothing."""
    ring = stage.resources.tracking
    article = sign_article(ring, run_id=77, content_id=9, link=1, url="https://example.org/a")
    reader = sign_reader(
        ring,
        purpose=Purpose.CLICK,
        run_id=77,
        publication_id=12,
        channel_id=3,
        destination=41,
        policy=TrackingPolicy.OFF,
    )
    assert (await clicked(stage, {"value": f"https://t.example.org/c/{article}/{reader}"})).status_code == 200
    assert stage.kept.frames == []


@pytest.mark.parametrize(("policy", "kept"), [("off", []), ("anonymous", [0]), ("pseudonymous", [41])])
async def test_a_room_follows_the_policy_of_the_installation(policy: str, kept: list[int]) -> None:
    """A letter that may keep more than the installation keeps what the installation allows."""
    async with hook_stage(stage_settings(tracking_policy=policy)) as stage:
        assert (await clicked(stage, {"value": our_link(stage)})).status_code == 200
        assert [int(number) for number in (stage.events["destination"] if stage.kept.frames else [])] == kept


async def test_slack_asks_for_its_challenge(stage: HookStage) -> None:
    """The challenge of a new address is repeated, once it is signed."""
    body = json.dumps({"type": "url_verification", "token": "x", "challenge": "3eZbrw1aB"}).encode()
    answer = await stage.client.post("/hooks/slack", content=body, headers=slack_headers(body))
    assert (answer.status_code, answer.json()) == (200, {"challenge": "3eZbrw1aB"})
    assert (await stage.client.post("/hooks/slack", content=body)).status_code == 403
    other = json.dumps({"type": "event_callback"}).encode()
    assert (await stage.client.post("/hooks/slack", content=other, headers=slack_headers(other))).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "payload"),
        (b"{", "payload"),
        (b"\xff", "payload"),
        (b"payload=%7B", "payload"),
        (b"a=1&b=2&c=3&d=4&e=5", "payload"),
        (urlencode({"payload": json.dumps({"type": "view_closed", "x": DEEP})}).encode(), "payload"),
        (b'{"type": 5}', "payload.type"),
        (b'{"type": "url_verification"}', "challenge"),
        (b'{"type": "block_actions", "actions": [{"action_ts": "soon"}]}', "payload.actions"),
    ],
)
async def test_malformed_slack(stage: HookStage, body: bytes, field: str) -> None:
    """What Slack signed and is no payload is refused by its field."""
    answer = await stage.client.post("/hooks/slack", content=body, headers=slack_headers(body))
    assert answer.status_code == 400
    assert [one["field"] for one in answer.json()["errors"]] == [field]


async def test_slack_without_a_secret() -> None:
    """Without a secret nobody is believed, not even with a signature by none."""
    async with hook_stage(stage_settings(slack_signing_secrets=" , ")) as stage:
        body = b'{"type": "url_verification", "challenge": "a"}'
        answer = await stage.client.post("/hooks/slack", content=body, headers=slack_headers(body, secret=""))
        assert answer.status_code == 403


async def test_webhooks_need_the_database(stage: HookStage) -> None:
    """A webhook's secret is in the database: while that is away the receiving end is told to come again."""
    body = b"{}"
    answer = await stage.client.post("/hooks/webhook/3", content=body, headers=webhook_headers(body))
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert (await stage.client.post("/hooks/webhook/0", content=body)).status_code == 422


async def test_nothing_of_a_reader_is_said(stage: HookStage, capsys: pytest.CaptureFixture[str]) -> None:
    """No address, network or link of a reader is in an answer or a log line, whatever goes wrong."""
    stage.lose_broker()
    answers = [
        await stage.sns(stage.amazon.message(bounce("canary@example.com"))),
        await stage.sns(stage.amazon.message(bounce("canary@example.com", tags={}))),
        await stage.sns(stage.amazon.message(touch("Click", link="https://canary.example.com"))),
        await stage.sns(stage.amazon.message({"eventType": "canary"})),
        await stage.sns(stage.amazon.message(bounce(), TopicArn=TOPIC + "canary")),
        await clicked(stage, {"value": our_link(stage)}),
        await clicked(stage, {"value": "canary", "action_ts": "canary"}),
    ]
    assert {one.status_code for one in answers} == {400, 403, 503}
    said = "".join(one.text for one in answers) + "".join(capsys.readouterr())
    for secret in ("canary", "192.0.2.1", "Mozilla", "/c/"):
        assert secret not in said
