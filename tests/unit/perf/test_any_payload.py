"""Whatever JSON arrives, a simulated provider answers it: a check never fails by itself."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perf.providers.discord_checks import check as check_discord
from perf.providers.exchange import Answer, Request
from perf.providers.ses import SEND_BULK_EMAIL, SEND_EMAIL, Ses
from perf.providers.slack_checks import check as check_slack
from perf.providers.webhook_checks import check as check_webhook

pytestmark = pytest.mark.unit

WORDS = (
    "text blocks type elements fields accessory url value block_id image_url alt_text title header section context "
    "actions image divider plain_text mrkdwn content embeds description footer author name color allowed_mentions "
    "parse users roles username timestamp data thumbnail "
    "Content Simple Raw Data Subject Body Text Html Destination ToAddresses FromEmailAddress EmailTags Name Value "
    "DefaultContent Template TemplateContent TemplateData BulkEmailEntries ReplacementEmailContent Headers "
    "ReplacementTemplate ReplacementTemplateData ReplacementTags ReplacementHeaders a@example.org {{name}}"
)
NAMES = WORDS.split()
SES = Ses()
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.sampled_from(NAMES) | st.text()
JSON = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6),
    max_leaves=25,
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), JSON, max_size=8)
# Documents that keep the outer shape, so that the checks behind it are reached.
MESSAGES = st.fixed_dictionaries({"text": st.just("t"), "content": st.just("c")}, optional={
    "blocks": st.lists(OBJECTS, max_size=3), "embeds": st.lists(OBJECTS, max_size=3), "allowed_mentions": OBJECTS,
})  # fmt: skip
SIGNED = {
    "authorization": "AWS4-HMAC-SHA256 Credential=A/20260101/eu-west-1/ses/aws4_request, "
    "SignedHeaders=host;x-amz-date, Signature=" + "0" * 64,
    "x-amz-date": "20260101T000000Z",
}
MAILS = st.fixed_dictionaries(
    {"FromEmailAddress": st.just("a@example.org"), "Content": OBJECTS, "DefaultContent": OBJECTS},
    optional={"Destination": OBJECTS, "EmailTags": st.lists(OBJECTS), "BulkEmailEntries": st.lists(OBJECTS)},
)


@settings(max_examples=60, deadline=None)
@given(JSON | OBJECTS | MESSAGES)
def test_room_checks_answer_any_document(payload: Any) -> None:
    """Slack, Discord and webhook checks return a refusal with a status, or None."""
    for refusal in (check_slack(payload), check_discord(payload), check_webhook(msgspec.json.encode(payload))):
        assert refusal is None or 400 <= refusal.status < 500


@settings(max_examples=60, deadline=None)
@given(JSON | MAILS, st.sampled_from([SEND_EMAIL, SEND_BULK_EMAIL]))
def test_ses_answers_any_document(payload: Any, path: str) -> None:
    """A signed call of any shape is a submission or a 4xx answer with an error type."""
    request = Request(method="POST", path=path, headers=SIGNED, body=msgspec.json.encode(payload))
    outcome = SES.read(request, now_ms=0)
    if isinstance(outcome, Answer):
        assert 400 <= outcome.status < 500
        assert dict(outcome.headers)["x-amzn-errortype"]


@pytest.mark.parametrize(
    "payload",
    [
        {},
        [],
        {"Content": {"Raw": {"Data": 5}}},
        {"Content": {"Simple": {"Subject": {"Data": "s"}, "Body": []}}},
        {"Content": {"Raw": {"Data": ""}}, "EmailTags": [{"Name": "n"}]},
    ],
)
def test_a_body_of_another_shape_is_not_deserialized(payload: Any) -> None:
    """A wrong type or a missing required member is a SerializationException."""
    request = Request(method="POST", path=SEND_EMAIL, headers=SIGNED, body=msgspec.json.encode(payload))
    outcome = SES.read(request, now_ms=0)
    assert isinstance(outcome, Answer)
    assert dict(outcome.headers)["x-amzn-errortype"] == "SerializationException"
