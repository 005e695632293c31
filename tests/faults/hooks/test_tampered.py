"""Fault S3: callbacks of Slack and of webhooks that are replayed, tampered with or re-ordered."""

import datetime as dt
import json
from collections.abc import Callable, Mapping, Sequence

import pytest

from ingest_api.hooks import slack, webhook
from tests.fakes.hook_stage import PREVIOUS_KEY, SLACK_SECRETS, WEBHOOK_KEY, slack_headers, webhook_headers

pytestmark = pytest.mark.faults

NOW = dt.datetime(2026, 2, 2, 9, 0, tzinfo=dt.UTC)
AT_S = int(NOW.timestamp())
BODY = json.dumps({"type": "opened", "timestamp": NOW.isoformat(), "data": {"run_id": 77, "delivery": None}}).encode()
REORDERED = json.dumps(
    {"data": {"delivery": None, "run_id": 77}, "timestamp": NOW.isoformat(), "type": "opened"}
).encode()

Headers = Mapping[bytes, bytes]
Check = Callable[[Headers, bytes, dt.datetime], bool]


def from_slack(headers: Headers, body: bytes, now: dt.datetime = NOW) -> bool:
    """Whether Slack's signature holds under the secrets of today and yesterday."""
    return slack.is_signed([one.encode() for one in SLACK_SECRETS], headers, body, now)


def from_webhook(headers: Headers, body: bytes, now: dt.datetime = NOW) -> bool:
    """Whether a receiving end's signature holds under the present key and the one before."""
    return webhook.is_signed([WEBHOOK_KEY, PREVIOUS_KEY], headers, body, now)


def raw(headers: Mapping[str, str]) -> dict[bytes, bytes]:
    """Headers as they arrive."""
    return {name.lower().encode(): value.encode() for name, value in headers.items()}


CASES: Sequence[tuple[Check, dict[bytes, bytes]]] = (
    (from_slack, raw(slack_headers(BODY, at_s=AT_S))),
    (from_webhook, raw(webhook_headers(BODY, at_s=AT_S))),
)
BOTH = pytest.mark.parametrize(("check", "headers"), CASES, ids=["slack", "webhook"])


def flips(text: bytes) -> list[bytes]:
    """Every text that differs in one bit."""
    return [
        text[:place] + bytes((text[place] ^ (1 << bit),)) + text[place + 1 :]
        for place in range(len(text))
        for bit in range(8)
    ]


@BOTH
def test_every_bit_of_the_body(check: Check, headers: Headers) -> None:
    """The body as it was signed passes; with any bit of any byte flipped, cut or lengthened, it does not."""
    assert check(headers, BODY, NOW)
    changed = [*flips(BODY), *(BODY[:length] for length in range(len(BODY))), BODY + b"\n", b" " + BODY]
    assert len(changed) > 8 * len(BODY)
    assert not any(check(headers, body, NOW) for body in changed)


@BOTH
def test_every_bit_of_the_headers(check: Check, headers: Headers) -> None:
    """With any bit of any header flipped, or any header left out, nothing passes."""
    for name, value in headers.items():
        for flipped in flips(value):
            assert not check({**headers, name: flipped}, BODY, NOW)
        assert not check({other: kept for other, kept in headers.items() if other != name}, BODY, NOW)


@BOTH
def test_reordered(check: Check, headers: Headers) -> None:
    """The same document spelt in another order is another body."""
    assert json.loads(REORDERED) == json.loads(BODY)
    assert not check(headers, REORDERED, NOW)


@BOTH
@pytest.mark.parametrize(("late_s", "is_taken"), [(0, True), (300, True), (301, False), (-300, True), (-301, False)])
def test_replayed(check: Check, headers: Headers, late_s: int, is_taken: bool) -> None:  # noqa: FBT001  - a column
    """A callback is good for five minutes before and after it was signed."""
    assert check(headers, BODY, NOW + dt.timedelta(seconds=late_s)) is is_taken


def test_two_secrets_in_rotation() -> None:
    """The present secret and the one before both sign; a third does not, and neither does a missing one."""
    for secret in SLACK_SECRETS:
        assert from_slack(raw(slack_headers(BODY, secret=secret, at_s=AT_S)), BODY)
    assert not from_slack(raw(slack_headers(BODY, secret="other", at_s=AT_S)), BODY)
    assert not slack.is_signed([], raw(slack_headers(BODY, secret="", at_s=AT_S)), BODY, NOW)
    for key in (WEBHOOK_KEY, PREVIOUS_KEY):
        assert from_webhook(raw(webhook_headers(BODY, key=key, at_s=AT_S)), BODY)
    assert not from_webhook(raw(webhook_headers(BODY, key=bytes(32), at_s=AT_S)), BODY)


def test_several_signatures() -> None:
    """A sender that changes its secret signs twice; one that is good is enough, wherever it stands."""
    good = webhook_headers(BODY, at_s=AT_S)
    for text in (f"v1,AAAA {good['webhook-signature']}", f"{good['webhook-signature']} v1a,AAAA"):
        assert from_webhook(raw(good | {"webhook-signature": text}), BODY)
    for text in ("v1,AAAA v1,BBBB", good["webhook-signature"].replace("v1,", "v2,"), " ", ""):
        assert not from_webhook(raw(good | {"webhook-signature": text}), BODY)
    flood = " ".join(["v1,AAAA"] * webhook.MAX_SIGNATURES)
    assert not from_webhook(raw(good | {"webhook-signature": f"{flood} {good['webhook-signature']}"}), BODY)


@pytest.mark.parametrize("timestamp", [b"", b"-1", b"+1", b"1e9", b"nan", b"\xd9\xa1", b"9" * 13, b"9" * 5_000, b"0x5"])
@BOTH
def test_times_that_are_none(check: Check, headers: Headers, timestamp: bytes) -> None:
    """A timestamp that is no number is no time."""
    names = [name for name in headers if name.endswith(b"timestamp")]
    assert len(names) == 1
    assert not check({**headers, names[0]: timestamp}, BODY, NOW)


@BOTH
def test_mutant_that_compares_parsed_json(check: Check, headers: Headers) -> None:
    """A check over what was parsed, and not over the bytes, takes what was re-ordered and respaced."""

    def canonical(body: bytes) -> bytes:
        parsed = json.loads(body)
        return BODY if parsed == json.loads(BODY) else body

    def mutant(body: bytes) -> bool:
        return check(headers, canonical(body), NOW)

    assert mutant(REORDERED)
    assert mutant(b" " + BODY)
