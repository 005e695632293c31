"""What the webhook receiver refuses, signed by the reference implementation of Standard Webhooks."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook

from perf.providers.webhook_checks import SecretError, check, check_signature, parse_secret, sign

pytestmark = pytest.mark.unit

NOW_S = 1_767_225_600
SECRET = "whsec_" + base64.b64encode(bytes(range(24))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
BODY = json.dumps({"type": "digest", "timestamp": "2026-01-01T00:00:00Z", "data": {}}).encode()


def signed(secret: str = SECRET, *, at_s: int = NOW_S) -> dict[str, str]:
    """The headers of BODY, signed by the reference implementation."""
    signature = Webhook(secret).sign("dlv_1", datetime.fromtimestamp(at_s, UTC), BODY.decode())
    return {"webhook-id": "dlv_1", "webhook-timestamp": str(at_s), "webhook-signature": signature}


def status_of(headers: dict[str, str], *, secrets: tuple[str, ...] = (SECRET,), body: bytes = BODY) -> int:
    """The status that the signature check leads to."""
    keys = [parse_secret(secret) for secret in secrets]
    refusal = check_signature(headers, body, keys=keys, now_s=NOW_S)
    return 200 if refusal is None else refusal.status


def test_a_signature_of_the_reference_implementation_is_taken() -> None:
    """The HMAC is over id, timestamp and the raw body."""
    assert status_of(signed()) == 200
    assert (
        sign(parse_secret(SECRET), webhook_id="dlv_1", timestamp=str(NOW_S), body=BODY)
        == (signed()["webhook-signature"])
    )


def test_two_secrets_or_two_signatures_make_a_rotation() -> None:
    """Any signature by any secret of the receiver is enough."""
    assert status_of(signed(OTHER), secrets=(SECRET, OTHER)) == 200
    both = signed(OTHER)["webhook-signature"] + " " + signed()["webhook-signature"]
    assert status_of({**signed(), "webhook-signature": both}) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        signed(OTHER),
        {**signed(), "webhook-id": "dlv_2"},
        {**signed(), "webhook-id": ""},
        {**signed(), "webhook-timestamp": "now"},
        {**signed(), "webhook-timestamp": str(NOW_S + 1)},
        {**signed(), "webhook-signature": "v1,AAAA"},
        signed(at_s=NOW_S - 301),
        signed(at_s=NOW_S + 301),
    ],
)
def test_a_wrong_signature_is_unauthorized(headers: dict[str, str]) -> None:
    """A missing, foreign, changed or old signature is 401."""
    assert status_of(headers) == 401


def test_the_tolerance_is_five_minutes() -> None:
    """An attempt of exactly five minutes ago still counts."""
    assert status_of(signed(at_s=NOW_S - 300)) == 200
    assert status_of(signed(at_s=NOW_S + 300)) == 200


def test_a_changed_body_is_unauthorized() -> None:
    """The raw bytes are signed, not the parsed JSON."""
    assert status_of(signed(), body=BODY + b" ") == 401


def test_a_receiver_without_secret_takes_nothing() -> None:
    """No secret means that nobody is known."""
    assert status_of(signed(), secrets=()) == 401


def padded(size: int) -> bytes:
    """A valid body of exactly this size."""
    empty = json.dumps({"type": "t", "timestamp": "2026-01-01T00:00:00+01:00", "data": ""}).encode()
    return empty[:-2] + b"x" * (size - len(empty)) + empty[-2:]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (BODY, 200),
        (padded(20 * 1024 - 1), 200),
        (padded(20 * 1024), 413),
        (b"{", 400),
        (b"[]", 400),
        (b'{"type": "t", "data": {}}', 400),
        (b'{"type": "", "timestamp": "2026-01-01T00:00:00Z", "data": {}}', 400),
        (b'{"type": "t", "timestamp": "2026-01-01T00:00:00", "data": {}}', 400),
        (b'{"type": "t", "timestamp": 5, "data": {}}', 400),
    ],
)
def test_bodies_are_small_and_of_the_shape_of_the_standard(body: bytes, status: int) -> None:
    """A body is `{type, timestamp, data}` in less than 20 KB."""
    refusal = check(body)
    assert (refusal.status if refusal else 200) == status


@pytest.mark.parametrize(
    "secret", ["whsec_%%%", SECRET.removeprefix("whsec_"), "whsec_" + base64.b64encode(b"short").decode()]
)
def test_secrets_have_the_form_of_the_standard(secret: str) -> None:
    """A secret is whsec_ and the base64 of 24 to 64 bytes."""
    with pytest.raises(SecretError):
        parse_secret(secret)
