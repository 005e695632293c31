"""POST /e with every service away: what is counted, what is refused and how, and what a page of any origin may do."""

import json
from typing import Any

import pytest

from ingest_api.beacon import MAX_BODY_BYTES, MAX_EVENTS
from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.domain.outside_ids import outside_id
from publishing.domain.tracking import TrackingPolicy
from publishing.domain.verdicts import FLAG_OUTSIDE_ID, FLAG_PRIVATE
from schemas.frames import KINDS, decode_frame

pytestmark = pytest.mark.contract

NUMBERS: dict[str, Any] = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41, "arm": 1}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0"}
AT_MS = 1_770_000_000_000


def opened(stranded: Any, number: str = "a", **changes: Any) -> dict[str, Any]:
    """An open as a page reports it."""
    token = sign_reader(stranded.settings.tracking, purpose=Purpose.OPEN, **(NUMBERS | changes))
    return {"id": number, "kind": "opened", "reader": token, "occurred_at": AT_MS}


def clicked(stranded: Any, number: str = "b", run_id: int = 77) -> dict[str, Any]:
    """A click as a page reports it."""
    ring = stranded.settings.tracking
    article = sign_article(ring, run_id=run_id, content_id=9, link=2, url="https://example.org/")
    token = sign_reader(ring, purpose=Purpose.CLICK, **NUMBERS)
    return {"id": number, "kind": "clicked", "reader": token, "article": article, "occurred_at": AT_MS}


async def post(stranded: Any, events: Any, **headers: str) -> Any:
    """Post a batch."""
    content = events if isinstance(events, bytes) else json.dumps({"events": events}).encode()
    sent = BROWSER | {"Content-Type": "application/json"} | {name.replace("_", "-"): v for name, v in headers.items()}
    return await stranded.client.post("/e", content=content, headers=sent)


def kept(stranded: Any) -> list[Any]:
    """The events of all frames."""
    return [event for _, frame in stranded.kept.frames for event in decode_frame(frame).events]


@pytest.mark.parametrize(
    "media_type", ["application/json", "text/plain;charset=UTF-8", "Application/JSON; charset=utf-8"]
)
async def test_a_batch_is_counted(stranded: Any, media_type: str) -> None:
    """Opens and clicks are recorded with the time, id and numbers that they came with, whatever a page may send as."""
    answer = await post(stranded, [opened(stranded), clicked(stranded)], Content_Type=media_type)
    assert (answer.status_code, answer.json()) == (202, {"accepted": 2, "refused": []})
    assert answer.headers["access-control-allow-origin"] == "*"
    first, second = kept(stranded)
    assert [KINDS[event["kind"]].value for event in (first, second)] == ["opened", "clicked"]
    assert [event["event_id"].tobytes() for event in (first, second)] == [
        outside_id("beacon/41", "a"),
        outside_id("beacon/41", "b"),
    ]
    for event in (first, second):
        numbers = ("run_id", "publication_id", "channel_id", "destination", "arm", "occurred_at")
        assert [int(event[name]) for name in numbers] == [77, 12, 3, 41, 1, AT_MS]
        assert int(event["flags"]) & FLAG_OUTSIDE_ID
    assert (int(second["content_id"]), int(second["link"])) == (9, 2)
    assert [shard for shard, _ in stranded.kept.frames] == [41 % 4]


async def test_each_bad_event_is_named(stranded: Any) -> None:
    """A bad event is refused with its index and field, in order, and the good ones are counted all the same."""
    good = opened(stranded)
    leaving = sign_reader(stranded.settings.tracking, purpose=Purpose.UNSUBSCRIBE, **NUMBERS)
    events = [
        good,
        {**good, "reader": leaving},
        {**good, "kind": "unsubscribed"},
        {**good, "id": ""},
        {**good, "id": "x" * 65},
        {**good, "occurred_at": "yesterday"},
        {name: value for name, value in good.items() if name != "reader"},
        {**good, "email": "canary@example.org"},
        {**clicked(stranded), "article": None},
        clicked(stranded, run_id=78),
        {**good, "article": clicked(stranded)["article"]},
        "text",
        clicked(stranded),
    ]
    answer = await post(stranded, events)
    assert answer.status_code == 202
    assert answer.json()["accepted"] == 2
    found = [(one["index"], one["field"]) for one in answer.json()["refused"]]
    assert found == [
        (1, "reader"), (2, "kind"), (3, "id"), (4, "id"), (5, "occurred_at"), (6, "reader"), (7, "email"),
        (8, "article"), (9, "article"), (10, "article"), (11, ""),
    ]  # fmt: skip
    assert "canary" not in answer.text
    assert len(kept(stranded)) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b'{"events": []}', 422),
        (b'{"events": 3}', 422),
        (b'{"events": [{}], "more": 1}', 422),
        (b"{", 422),
        (b"\xff\xfe", 422),
        (b'{"events": ' + b"[" * 50_000 + b"]" * 50_000 + b"}", 422),
        (b" " * (MAX_BODY_BYTES + 1), 413),
    ],
)
async def test_what_is_no_batch_is_a_problem(stranded: Any, body: bytes, status: int) -> None:
    """What is no batch at all, or too large, or too deep, is answered with a problem that a page may read."""
    answer = await post(stranded, body)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["access-control-allow-origin"] == "*"
    assert kept(stranded) == []


async def test_a_batch_has_a_limit(stranded: Any) -> None:
    """500 events are taken at once, 501 are not."""
    events = [opened(stranded, str(number)) for number in range(MAX_EVENTS)]
    assert (await post(stranded, events)).json()["accepted"] == MAX_EVENTS
    answer = await post(stranded, [*events, opened(stranded, "one more")])
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "events")
    assert len(kept(stranded)) == MAX_EVENTS


async def test_nothing_is_accepted_that_is_not_durable(stranded: Any) -> None:
    """With nothing durable the whole batch is to be sent again."""
    stranded.lose_broker()
    answer = await post(stranded, [opened(stranded)])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["access-control-allow-origin"] == "*"


async def test_the_same_ids_are_the_same_events(stranded: Any) -> None:
    """A batch that is sent again gives the same ids, and another reader's equal ids are others."""
    await post(stranded, [opened(stranded, "1"), opened(stranded, "2")])
    await post(stranded, [opened(stranded, "1"), opened(stranded, "2"), opened(stranded, "1", destination=45)])
    ids = [event["event_id"].tobytes() for event in kept(stranded)]
    assert len(ids) == 5
    assert len(set(ids)) == 3


async def test_a_reader_who_objects_is_nobody(stranded: Any) -> None:
    """Under DNT and GPC neither the event nor its id holds the reader's number."""
    for headers in ({"DNT": "1"}, {"Sec_GPC": "1"}):
        await post(stranded, [opened(stranded, "x")], **headers)
    for event in kept(stranded):
        assert int(event["destination"]) == 0
        assert int(event["flags"]) & FLAG_PRIVATE
        assert event["event_id"].tobytes() == outside_id("beacon/run/77", "x")


async def test_the_policy_off_counts_nothing(stranded: Any) -> None:
    """An event of a letter that is not tracked is taken and not kept."""
    answer = await post(stranded, [opened(stranded, policy=TrackingPolicy.OFF)])
    assert (answer.status_code, answer.json()["accepted"]) == (202, 1)
    assert kept(stranded) == []


async def test_a_page_may_ask_first(stranded: Any) -> None:
    """A preflight allows a POST with a content type from any origin, and no credentials."""
    headers = {"Origin": "https://news.example", "Access-Control-Request-Method": "POST"}
    answer = await stranded.client.options("/e", headers=headers)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["access-control-allow-methods"] == "POST"
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE"])
async def test_events_are_posted(stranded: Any, method: str) -> None:
    """Another method is refused, and says which is not."""
    answer = await stranded.client.request(method, "/e")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


@pytest.mark.parametrize("headers", [{"Content_Type": "text/html"}, {"Content_Encoding": "gzip"}])
async def test_other_bodies_are_refused(stranded: Any, headers: dict[str, str]) -> None:
    """Neither another media type nor a compressed body is read."""
    assert (await post(stranded, [opened(stranded)], **headers)).status_code == 415
