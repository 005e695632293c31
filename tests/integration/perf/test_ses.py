"""The SES simulator as the AWS client library sees it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from email import message_from_bytes
from email.policy import default
from typing import Any

import aioboto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EndpointConnectionError

from tests.integration.perf.conftest import Running

pytestmark = pytest.mark.integration

RAW = b"From: news@example.org\r\nTo: ann@example.org\r\nSubject: =?utf-8?q?Caf=C3=A9?=\r\n\r\nhello\r\n"
RETRY_NOTHING = Config(retries={"total_max_attempts": 1}, read_timeout=5)


@pytest.fixture
async def ses(running: Running) -> AsyncIterator[Any]:
    """An SES v2 client that tries once."""
    session = aioboto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="secret", region_name="eu-west-1")
    async with session.client("sesv2", endpoint_url=running.urls["ses"], config=RETRY_NOTHING) as client:
        yield client


def raw(to: str = "ann@example.org", **changes: Any) -> dict[str, Any]:
    """The arguments of one raw mail."""
    return {
        "FromEmailAddress": "News <news@example.org>",
        "Destination": {"ToAddresses": [to]},
        "Content": {"Raw": {"Data": RAW}},
        "EmailTags": [{"Name": "delivery", "Value": "7-1-41"}],
        **changes,
    }


def bulk(*recipients: str, **changes: Any) -> dict[str, Any]:
    """The arguments of one bulk call with a name for each recipient."""
    entries = [
        {
            "Destination": {"ToAddresses": [to]},
            "ReplacementEmailContent": {
                "ReplacementTemplate": {"ReplacementTemplateData": json.dumps({"name": to.partition("@")[0]})}
            },
            "ReplacementTags": [{"Name": "delivery", "Value": f"7-1-{index}"}],
            "ReplacementHeaders": [{"Name": "List-Unsubscribe", "Value": f"<https://example.org/u/{index}>"}],
        }
        for index, to in enumerate(recipients)
    ]
    content = {"Subject": "For {{name}}", "Html": "<p>{{name}}</p>", "Text": "{{name}}"}
    return {
        "FromEmailAddress": "news@example.org",
        "DefaultContent": {"Template": {"TemplateContent": content, "TemplateData": "{}"}},
        "DefaultEmailTags": [{"Name": "run", "Value": "7"}],
        "BulkEmailEntries": entries,
        **changes,
    }


async def message(running: Running, message_id: str) -> Any:
    """The kept mail of one message id."""
    async with running.client.get(f"{running.urls['ses']}/_message/{message_id}") as answer:
        assert answer.status == 200
        return message_from_bytes(await answer.read(), policy=default)


async def test_a_raw_mail_is_logged_with_its_tags_and_kept(running: Running, ses: Any) -> None:
    """The row has addresses, decoded subject, tags and message id; the raw MIME is there by the id."""
    answer = await ses.send_email(**raw(ConfigurationSetName="news"))
    (row,) = await running.log("ses")
    assert row["message_id"] == answer["MessageId"]
    assert (row["seq"], row["to"], row["subject"]) == (1, ["ann@example.org"], "Café")
    assert row["tags"] == {"delivery": "7-1-41"}
    assert (row["configuration_set"], row["is_bulk"]) == ("news", False)
    async with running.client.get(f"{running.urls['ses']}/_message/{answer['MessageId']}") as kept:
        assert await kept.read() == RAW


async def test_a_raw_mail_may_name_everything_in_its_headers(running: Running, ses: Any) -> None:
    """Without Destination, From and EmailTags the headers of the message count."""
    tagged = RAW.replace(b"Subject", b"X-SES-MESSAGE-TAGS: run=9, arm=1\r\nSubject")
    await ses.send_email(Content={"Raw": {"Data": tagged}})
    (row,) = await running.log("ses")
    assert (row["to"], row["tags"]) == (["ann@example.org"], {"run": "9", "arm": "1"})
    for missing in (b"To: ann@example.org\r\n", b"From: news@example.org\r\n"):
        with pytest.raises(ses.exceptions.BadRequestException):
            await ses.send_email(Content={"Raw": {"Data": RAW.replace(missing, b"")}})


async def test_a_simple_mail_is_composed(running: Running, ses: Any) -> None:
    """Simple content becomes MIME with its headers."""
    content = {
        "Subject": {"Data": "Hello"},
        "Body": {"Text": {"Data": "text"}, "Html": {"Data": "<p>html</p>"}},
        "Headers": [{"Name": "List-Id", "Value": "News <news.example.org>"}],
    }
    answer = await ses.send_email(**raw(Content={"Simple": content}))
    mail = await message(running, answer["MessageId"])
    assert (mail["Subject"], mail["List-Id"]) == ("Hello", "News <news.example.org>")
    assert mail.get_body(("html",)).get_content().strip() == "<p>html</p>"


async def test_a_bulk_call_is_a_message_for_each_entry(running: Running, ses: Any) -> None:
    """Fifty entries are fifty rows with tags merged, and each mail has its own words and headers."""
    recipients = [f"r{number}@example.org" for number in range(50)]
    answer = await ses.send_bulk_email(**bulk(*recipients))
    results = answer["BulkEmailEntryResults"]
    assert {result["Status"] for result in results} == {"SUCCESS"}
    rows = await running.log("ses")
    assert [row["message_id"] for row in rows] == [result["MessageId"] for result in results]
    assert [row["to"] for row in rows] == [[to] for to in recipients]
    assert rows[3]["tags"] == {"run": "7", "delivery": "7-1-3"}
    mail = await message(running, rows[49]["message_id"])
    assert (mail["Subject"], mail["List-Unsubscribe"]) == ("For r49", "<https://example.org/u/49>")


async def test_a_bad_bulk_entry_fails_alone(running: Running, ses: Any) -> None:
    """One entry's fault is its own status; the others are accepted."""
    call = bulk("a@example.org", "b@example.org", "c@example.org", "d@example.org")
    call["BulkEmailEntries"][1]["ReplacementHeaders"] = [{"Name": "X-A", "Value": "é"}]
    data = call["BulkEmailEntries"][2]["ReplacementEmailContent"]["ReplacementTemplate"]
    data["ReplacementTemplateData"] = "{}"
    broken = call["BulkEmailEntries"][3]["ReplacementEmailContent"]["ReplacementTemplate"]
    broken["ReplacementTemplateData"] = json.dumps({"name": "a\r\nBcc: x@example.org"})
    results = (await ses.send_bulk_email(**call))["BulkEmailEntryResults"]
    assert [result["Status"] for result in results] == ["SUCCESS"] + ["INVALID_PARAMETER"] * 3
    assert "'name'" in results[2]["Error"]
    assert [row["to"] for row in await running.log("ses")] == [["a@example.org"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"EmailTags": [{"Name": "a b", "Value": "v"}]},
        {"Destination": {"ToAddresses": [f"r{number}@example.org" for number in range(51)]}},
        {"Content": {"Raw": {"Data": RAW + b"y" * 999}}},
    ],
)
async def test_a_refusal_is_the_library_s_own_exception(running: Running, ses: Any, changes: dict[str, Any]) -> None:
    """The client library raises the class that the API names, and nothing is logged."""
    with pytest.raises(ses.exceptions.BadRequestException):
        await ses.send_email(**raw(**changes))
    with pytest.raises(ses.exceptions.MessageRejected):
        await ses.send_email(**raw(Content={"Raw": {"Data": b"none"}}))
    with pytest.raises(ses.exceptions.BadRequestException):
        await ses.send_bulk_email(**bulk(*["a@example.org"] * 51))
    assert await running.log("ses") == []


@pytest.mark.parametrize("running", [["--ses-rate", "2"]], indirect=True)
async def test_a_rate_throttles_calls_and_entries(running: Running, ses: Any) -> None:
    """Beyond the rate a call is TooManyRequestsException, and a bulk call is granted in part."""
    results = (await ses.send_bulk_email(**bulk("a@example.org", "b@example.org", "c@example.org")))[
        "BulkEmailEntryResults"
    ]
    assert [result["Status"] for result in results] == ["SUCCESS", "SUCCESS", "ACCOUNT_THROTTLED"]
    with pytest.raises(ses.exceptions.TooManyRequestsException) as caught:
        await ses.send_email(**raw())
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert len(await running.log("ses")) == 2
    quota = (await ses.get_account())["SendQuota"]
    assert (quota["MaxSendRate"], quota["SentLast24Hours"]) == (2.0, 2.0)


async def test_a_daily_quota_ends_sending(running: Running, ses: Any) -> None:
    """The quota can be set while running; entries beyond it and later calls are refused."""
    async with running.client.put(f"{running.urls['ses']}/_account", json={"max_24_hour_send": 1}) as answer:
        assert answer.status == 200
    results = (await ses.send_bulk_email(**bulk("a@example.org", "b@example.org")))["BulkEmailEntryResults"]
    assert [result["Status"] for result in results] == ["SUCCESS", "ACCOUNT_DAILY_QUOTA_EXCEEDED"]
    with pytest.raises(ses.exceptions.TooManyRequestsException, match="quota"):
        await ses.send_email(**raw())
    wrongs: tuple[Any, ...] = ({"rate": 1}, {"max_send_rate": -1}, [])
    for wrong in wrongs:
        async with running.client.put(f"{running.urls['ses']}/_account", json=wrong) as answer:
            assert answer.status == 422


async def test_a_script_throttles_and_fails_single_entries(running: Running, ses: Any) -> None:
    """A scripted throttle has SES's form; `entry_status` fails only the entries that match."""
    await running.script(
        "ses",
        {"do": "throttle", "match": {"path": "outbound-emails"}, "times": 1},
        {"do": "ok", "match": {"to": "b@"}, "entry_status": "TRANSIENT_FAILURE"},
    )
    with pytest.raises(ses.exceptions.TooManyRequestsException):
        await ses.send_email(**raw())
    results = (await ses.send_bulk_email(**bulk("a@example.org", "b@example.org")))["BulkEmailEntryResults"]
    assert [result["Status"] for result in results] == ["SUCCESS", "TRANSIENT_FAILURE"]
    assert await running.acted("ses") == [1, 1]


async def test_a_reset_after_accept_leaves_the_client_without_an_answer(running: Running, ses: Any) -> None:
    """The mail is in the accept log although the library says "could not connect": that error proves nothing."""
    await running.script("ses", {"do": "reset_after_accept", "match": {"tags": "delivery=7-1-41"}, "times": 1})
    with pytest.raises(EndpointConnectionError):
        await ses.send_email(**raw())
    assert [row["tags"]["delivery"] for row in await running.log("ses")] == ["7-1-41"]
    assert await running.acted("ses") == [1]


async def test_unsigned_and_unknown_calls_are_refused(running: Running, ses: Any) -> None:
    """Without Signature Version 4 nothing is answered, and other operations are not simulated."""
    async with running.client.post(f"{running.urls['ses']}/v2/email/outbound-emails", json={}) as answer:
        assert answer.status == 403
        assert answer.headers["x-amzn-errortype"] == "MissingAuthenticationTokenException"
    with pytest.raises(ClientError, match="NotFoundException"):
        await ses.list_email_identities()


@pytest.mark.parametrize("running", [["--raw-max-bytes", "1500"]], indirect=True)
async def test_raw_messages_give_way_when_their_room_is_full(running: Running, ses: Any) -> None:
    """An overwritten message is 410, an unknown one 404, and both rows stay in the log."""
    ids = [(await ses.send_email(**raw()))["MessageId"] for _ in range(5)]
    for message_id, status in ((ids[0], 410), (ids[-1], 200), ("none", 404)):
        async with running.client.get(f"{running.urls['ses']}/_message/{message_id}") as answer:
            assert answer.status == status
    assert len(await running.log("ses")) == 5
