"""Messages of SNS: what is signed, which are believed, and what is fetched for them."""

import asyncio
import base64
import datetime as dt
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ingest_api.hooks import certificates as module
from ingest_api.hooks.certificates import MAX_AGE_S, MAX_FETCHES, CachedKeys, CertificateError, FetchError
from ingest_api.hooks.sns import SnsVerifier, confirms, parse_message, signed_text
from ingest_api.problems import ProblemError
from tests.fakes.amazon import CERT_URL, HOST, TOPIC, YEAR, Amazon, certificate, rsa_key

pytestmark = pytest.mark.unit

NOW = dt.datetime(2026, 2, 2, 9, 0, 10, tzinfo=dt.UTC)
MINUTE = dt.timedelta(minutes=1)


@pytest.fixture
def amazon() -> Amazon:
    """An Amazon of the day."""
    return Amazon(NOW)


async def status_of(amazon: Amazon, message: dict[str, Any], *, takes_v1: bool = False, topics: str = TOPIC) -> int:
    """What a message is answered with: 200 when it is believed."""
    verifier = SnsVerifier(CachedKeys(amazon), [topics], takes_v1=takes_v1)
    try:
        await verifier.verify(parse_message(json.dumps(message).encode()), NOW)
    except ProblemError as problem:
        return problem.status
    return 200


def test_the_text_that_is_signed_is_amazons() -> None:
    """Amazon's own example: keys in byte order, a line each, an absent subject left out."""
    fields = {
        "Type": "Notification",
        "MessageId": "4d4dc071-ddbf-465d-bba8-08f81c89da64",
        "TopicArn": "arn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P",
        "Message": "My Test Message",
        "Subject": "My subject",
        "Timestamp": "2019-01-31T04:37:04.321Z",
        "SignatureVersion": "1",
        "Signature": "AA==",
        "SigningCertURL": CERT_URL,
    }
    expected = (
        "Message\nMy Test Message\nMessageId\n4d4dc071-ddbf-465d-bba8-08f81c89da64\nSubject\nMy subject\n"
        "Timestamp\n2019-01-31T04:37:04.321Z\nTopicArn\narn:aws:sns:us-east-2:123456789012:s4-MySNSTopic-1G1WEFCOXTC0P\n"
        "Type\nNotification\n"
    )
    assert signed_text(parse_message(json.dumps(fields).encode())).decode() == expected
    del fields["Subject"]
    text = signed_text(parse_message(json.dumps(fields).encode())).decode()
    assert text == expected.replace("Subject\nMy subject\n", "")


async def test_versions(amazon: Amazon) -> None:
    """Version 2 is believed; version 1 only by setting; a version that is no version never."""
    assert await status_of(amazon, amazon.message({})) == 200
    assert await status_of(amazon, amazon.message({}), takes_v1=True) == 200
    first = amazon.message({}, SignatureVersion="1")
    assert await status_of(amazon, first) == 403
    assert await status_of(amazon, first, takes_v1=True) == 200
    assert await status_of(amazon, first | {"SignatureVersion": "2"}, takes_v1=True) == 403
    assert await status_of(amazon, amazon.message({}, SignatureVersion="3"), takes_v1=True) == 403


@pytest.mark.parametrize("name", ["Message", "MessageId", "Timestamp", "Subject", "SubscribeURL", "Token"])
async def test_a_signed_field_that_is_changed(amazon: Amazon, name: str) -> None:
    """No signed field can be changed, added or taken away."""
    message = amazon.message({"a": 1}, Subject="s")
    changed = {"Timestamp": "2026-02-02T09:00:09.999Z"}.get(name, "x")
    assert await status_of(amazon, message | {name: changed}) == 403
    if name == "Subject":
        del message["Subject"]
        assert await status_of(amazon, message) == 403


async def test_a_signature_that_is_changed(amazon: Amazon) -> None:
    """No bit of the signature can be changed, and the key of somebody else does not sign."""
    message = amazon.message({})
    raw = base64.b64decode(message["Signature"])
    for place in range(0, len(raw), 16):
        flipped = raw[:place] + bytes((raw[place] ^ 1,)) + raw[place + 1 :]
        assert await status_of(amazon, message | {"Signature": base64.b64encode(flipped).decode()}) == 403
    assert await status_of(amazon, Amazon(NOW, name="other").message({})) == 403


async def test_a_foreign_topic(amazon: Amazon) -> None:
    """A topic that is not named is refused although Amazon signed it, and nothing is fetched."""
    foreign = TOPIC.replace("123456789012", "210987654321")
    assert await status_of(amazon, amazon.message({}, TopicArn=foreign)) == 403
    assert await status_of(amazon, amazon.message({}, TopicArn=TOPIC + "2")) == 403
    assert await status_of(amazon, amazon.message({}), topics="") == 403
    assert amazon.fetched == []


@pytest.mark.parametrize(
    ("age", "status"),
    [(0, 200), (119, 200), (121, 403), (-14, 200), (-16, 403), (60 * 24, 403)],
)
async def test_times(amazon: Amazon, age: int, status: int) -> None:
    """A message is believed for two hours, as SNS tries for one, and not before its time."""
    at = (NOW - age * MINUTE).isoformat(timespec="milliseconds")
    assert await status_of(amazon, amazon.message({}, Timestamp=at)) == status


@pytest.mark.parametrize("days", [(-10, -1), (1, 10)])
async def test_certificates_out_of_their_time(amazon: Amazon, days: tuple[int, int]) -> None:
    """A certificate signs only in its own time."""
    before, after = (NOW + dt.timedelta(days=number) for number in days)
    amazon.pem = certificate(amazon.key, not_before=before, not_after=after)
    assert await status_of(amazon, amazon.message({})) == 403


async def test_what_is_no_certificate(amazon: Amazon) -> None:
    """Only an RSA key of 2,048 bits or more in a certificate signs."""
    message = amazon.message({})
    curve = ec.generate_private_key(ec.SECP256R1())
    bare = amazon.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    for pem in (b"", b"<html>", bare, certificate(curve, not_before=NOW - YEAR, not_after=NOW + YEAR)):
        amazon.pem = pem
        assert await status_of(amazon, message) == 403
    amazon.key = rsa_key("small", 1_024)
    amazon.pem = certificate(amazon.key, not_before=NOW - YEAR, not_after=NOW + YEAR)
    assert await status_of(amazon, amazon.message({})) == 403


async def test_a_certificate_that_is_not_to_be_had(amazon: Amazon) -> None:
    """While Amazon does not answer the message is asked to come again."""
    amazon.is_away = True
    assert await status_of(amazon, amazon.message({})) == 503


async def test_certificates_are_fetched_once(amazon: Amazon) -> None:
    """However many messages come at a time, one fetch serves them, for a day."""
    now_s = [0.0]
    keys = CachedKeys(amazon, clock_s=lambda: now_s[0])
    await asyncio.gather(*(keys.key(CERT_URL, NOW) for _ in range(20)))
    assert amazon.fetched == [CERT_URL]
    now_s[0] = MAX_AGE_S - 1
    await keys.key(CERT_URL, NOW)
    assert len(amazon.fetched) == 1
    now_s[0] = MAX_AGE_S
    await keys.key(CERT_URL, NOW)
    assert len(amazon.fetched) == 2


async def test_fetches_are_bounded(amazon: Amazon, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forged messages cannot make us fetch more than ten addresses a minute, nor keep more than the cache holds."""
    monkeypatch.setattr(module, "MAX_CACHED", 4)
    now_s = [0.0]
    keys = CachedKeys(amazon, clock_s=lambda: now_s[0])
    for number in range(MAX_FETCHES):
        await keys.key(f"{CERT_URL}{number}", NOW)
    with pytest.raises(FetchError):
        await keys.key(f"{CERT_URL}x", NOW)
    assert len(amazon.fetched) == MAX_FETCHES
    assert len(keys._known) == 4
    now_s[0] = 60.0
    await keys.key(f"{CERT_URL}x", NOW)
    with pytest.raises(CertificateError):
        await keys.key(f"{CERT_URL}x", NOW + 2 * YEAR)


CONFIRM = f"{HOST}/?Action=ConfirmSubscription&TopicArn={TOPIC}&Token=2336412f37fb687f5d51e6e2425a8a5"


@pytest.mark.parametrize(
    ("url", "is_taken"),
    [
        (CONFIRM, True),
        (CONFIRM.replace(":", "%3A").replace("https%3A", "https:"), True),
        (CONFIRM.replace("eu-west-1.amazonaws.com", "cn-north-1.amazonaws.com.cn"), True),
        (CONFIRM.replace("https", "http", 1), False),
        (CONFIRM.replace("ConfirmSubscription", "Unsubscribe"), False),
        (CONFIRM.replace(TOPIC, TOPIC + "2"), False),
        (CONFIRM + "&Action=DeleteTopic", False),
        (CONFIRM + "&Endpoint=https://example.org", False),
        (CONFIRM + "#x", False),
        (CONFIRM.replace("/?", "/x?"), False),
        (CONFIRM.replace("amazonaws.com", "amazonaws.com.example.org"), False),
        (CONFIRM.replace("https://", "https://x@"), False),
        (CONFIRM.replace(".com/", ".com:444/"), False),
        (CONFIRM.replace("Token=2336", "Token=9336"), False),
    ],
)
def test_confirmations(url: str, is_taken: bool) -> None:  # noqa: FBT001  - a column of the table
    """A subscription is confirmed at SNS itself, for the topic that is allowed, and in no other way."""
    message = parse_message(json.dumps(Amazon(NOW).confirmation(SubscribeURL=url)).encode())
    assert confirms(message) is is_taken


GOOD = Amazon(NOW).message({})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", ""),
        (b"[]", ""),
        (b"\xff", ""),
        (b'{"Type":' * 50_000, "Type"),
        *[(json.dumps({k: v for k, v in GOOD.items() if k != name}).encode(), name) for name in ("Type", "MessageId")],
        (json.dumps(GOOD | {"Type": "Other"}).encode(), "Type"),
        (json.dumps(GOOD | {"MessageId": "a\nTopicArn"}).encode(), "MessageId"),
        (json.dumps(GOOD | {"Subject": "a\nb"}).encode(), "Subject"),
        (json.dumps(GOOD | {"Message": 5}).encode(), "Message"),
        (json.dumps(GOOD | {"Type": "SubscriptionConfirmation"}).encode(), "SubscribeURL"),
        (json.dumps(GOOD | {"Type": "UnsubscribeConfirmation", "SubscribeURL": "x"}).encode(), "Token"),
    ],
)
def test_malformed(body: bytes, field: str) -> None:
    """What is no message of SNS is named by its field; a line feed is only in a message, so that one text is signed."""
    with pytest.raises(ProblemError) as caught:
        parse_message(body)
    assert (caught.value.status, [one.field for one in caught.value.errors]) == (400, [field])


async def test_malformed_in_its_values(amazon: Amazon) -> None:
    """A time or a signature that cannot be read is malformed, and nothing is fetched for it."""
    assert await status_of(amazon, amazon.message({}, Timestamp="yesterday")) == 400
    assert await status_of(amazon, amazon.message({}) | {"Signature": "***"}) == 400
    assert amazon.fetched == []
