"""The Slack, Discord and webhook simulators over real HTTP."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from standardwebhooks import Webhook

from publishing.runtime.clock import utc_now
from tests.integration.perf.conftest import Running

pytestmark = pytest.mark.integration

SLACK = "/services/T000/B000/XyZ"
DISCORD = "/api/webhooks/42/to-ken_1"
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
EVENT = json.dumps({"type": "digest", "timestamp": "2026-01-01T00:00:00Z", "data": {"n": 1}})


async def test_slack_answers_ok_and_logs_the_post(running: Running) -> None:
    """A healthy webhook answers the two letters as text and keeps the payload with its path."""
    payload = {"text": "hello", "metadata": {"event_payload": {"delivery": "7-1-41"}}}
    async with running.client.post(running.urls["slack"] + SLACK, json=payload) as answer:
        assert (answer.status, answer.content_type, await answer.text()) == (200, "text/plain", "ok")
    (row,) = await running.log("slack")
    assert (row["path"], row["payload"]) == (SLACK, payload)


@pytest.mark.parametrize(
    ("path", "sent", "status", "error"),
    [
        (SLACK, {"json": {}}, 400, "no_text"),
        (SLACK, {"json": {"text": "t", "blocks": [{"type": "header"}]}}, 400, "invalid_blocks"),
        (SLACK, {"data": b"{", "headers": {"content-type": "application/json"}}, 400, "invalid_payload"),
        (SLACK, {"data": {"payload": "{}"}}, 400, "invalid_payload"),
        ("/services/T000/B000", {"json": {"text": "t"}}, 404, "no_service"),
        ("/services/X/B000/x", {"json": {"text": "t"}}, 404, "no_service"),
    ],
)
async def test_slack_refuses_by_a_bare_word(
    running: Running, path: str, sent: dict[str, Any], status: int, error: str
) -> None:
    """A refusal is its error as text, and nothing is logged."""
    async with running.client.post(running.urls["slack"] + path, **sent) as answer:
        assert (answer.status, await answer.text()) == (status, error)
    assert await running.log("slack") == []


@pytest.mark.parametrize("running", [["--slack-rate", "0.5"]], indirect=True)
async def test_slack_limits_each_webhook(running: Running) -> None:
    """Beyond its rate a webhook answers 429 with Retry-After in whole seconds; another one is free."""
    statuses = []
    for path in (SLACK, SLACK, SLACK + "2"):
        async with running.client.post(running.urls["slack"] + path, json={"text": "t"}) as answer:
            statuses.append((answer.status, answer.headers.get("Retry-After")))
    assert statuses == [(200, None), (429, "2"), (200, None)]
    async with running.client.get(running.urls["slack"] + SLACK) as answer:
        assert answer.status == 405


async def test_discord_answers_the_message_when_it_is_waited_for(running: Running) -> None:
    """With wait=true the answer has the id that the log has, and the message can be read again."""
    url = running.urls["discord"] + DISCORD
    payload = {"content": "hello", "allowed_mentions": {"parse": []}, "nonce": "7-1-41"}
    async with running.client.post(url, params={"wait": "true"}, json=payload) as answer:
        message = await answer.json()
        assert (answer.status, message["content"], message["webhook_id"]) == (200, "hello", "42")
        assert answer.headers["X-RateLimit-Limit"] == "50"
        assert answer.headers["X-RateLimit-Remaining"] == "49"
        assert all(f"X-RateLimit-{name}" in answer.headers for name in ("Reset", "Reset-After", "Bucket"))
    async with running.client.post(url, json=payload) as answer:
        assert (answer.status, await answer.read()) == (204, b"")
    first, second = await running.log("discord")
    assert (first["message_id"], first["payload"], first["webhook"]) == (message["id"], payload, "42")
    assert int(second["message_id"]) > int(first["message_id"])
    async with running.client.get(f"{url}/messages/{message['id']}") as answer:
        assert (await answer.json())["id"] == message["id"]
    for path, status in (("", 200), ("/messages/5", 404)):
        async with running.client.get(url + path) as answer:
            assert answer.status == status


@pytest.mark.parametrize(
    ("path", "payload", "status", "code"),
    [
        (DISCORD, {"content": "c" * 2_001}, 400, 50035),
        (DISCORD, {}, 400, 50006),
        ("/api/webhooks/x/y", {"content": "c"}, 404, 10015),
        (DISCORD + "/messages/5", {"content": "c"}, 405, 0),
    ],
)
async def test_discord_refuses_with_its_code(
    running: Running, path: str, payload: dict[str, Any], status: int, code: int
) -> None:
    """A refusal is JSON with Discord's code, and nothing is logged."""
    async with running.client.post(running.urls["discord"] + path, json=payload) as answer:
        assert (answer.status, (await answer.json())["code"]) == (status, code)
    async with running.client.post(running.urls["discord"] + DISCORD, data=b"{") as answer:
        assert (await answer.json())["code"] == 50109
    assert await running.log("discord") == []


@pytest.mark.parametrize("running", [["--discord-limit", "2", "--discord-window", "10"]], indirect=True)
async def test_discord_empties_the_bucket_of_a_webhook(running: Running) -> None:
    """An empty bucket is 429 with a float retry_after that fits the headers."""
    url = running.urls["discord"] + DISCORD
    for remaining in ("1", "0"):
        async with running.client.post(url, json={"content": "c"}) as answer:
            assert answer.headers["X-RateLimit-Remaining"] == remaining
    async with running.client.post(url, json={"content": "c"}) as answer:
        body = await answer.json()
        assert (answer.status, body["global"]) == (429, False)
        assert 4 < body["retry_after"] <= 5
        assert float(answer.headers["Retry-After"]) == body["retry_after"]
        assert answer.headers["X-RateLimit-Scope"] == "user"
    assert len(await running.log("discord")) == 2


async def send_webhook(running: Running, *, secret: str = SECRET, body: str = EVENT, at: datetime | None = None) -> int:
    """The status of one webhook that the reference implementation signed."""
    at = at or utc_now()
    headers = {
        "webhook-id": "dlv_7_1_41",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("dlv_7_1_41", at, body),
        "content-type": "application/json",
    }
    async with running.client.post(running.urls["webhook"] + "/hook/shop", data=body, headers=headers) as answer:
        return answer.status


async def test_a_webhook_is_verified_and_never_deduplicated(running: Running) -> None:
    """A signed webhook is logged with its id each time that it arrives; others are 401."""
    assert await send_webhook(running) == 401
    async with running.client.put(running.urls["webhook"] + "/_secrets", json={"shop": SECRET}) as answer:
        assert await answer.json() == {"receivers": ["shop"]}
    assert [await send_webhook(running) for _ in range(2)] == [204, 204]
    assert await send_webhook(running, at=datetime(2026, 1, 1, tzinfo=UTC)) == 401
    assert await send_webhook(running, body="[]") == 400
    assert await send_webhook(running, body=EVENT[:-1] + " " * 20_480 + "}") == 413
    rows = await running.log("webhook")
    assert [(row["name"], row["webhook_id"], row["payload"]["data"]) for row in rows] == [
        ("shop", "dlv_7_1_41", {"n": 1})
    ] * 2


async def test_secrets_rotate_and_are_checked(running: Running) -> None:
    """A receiver may have two secrets; what is no secret is refused with a reason."""
    other = "whsec_" + base64.b64encode(bytes(24)).decode()
    url = running.urls["webhook"] + "/_secrets"
    async with running.client.put(url, json={"shop": [SECRET, other]}) as answer:
        assert answer.status == 200
    assert [await send_webhook(running, secret=secret) for secret in (SECRET, other)] == [204, 204]
    wrongs: tuple[Any, ...] = ({"shop": "plain"}, {"shop": 5}, [])
    for wrong in wrongs:
        async with running.client.put(url, json=wrong) as answer:
            assert answer.status == 422
    for method, path, status in (("GET", "/hook/shop", 405), ("POST", "/hooks", 404)):
        async with running.client.request(method, running.urls["webhook"] + path) as answer:
            assert answer.status == status
