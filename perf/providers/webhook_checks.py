"""What a receiver of Standard Webhooks 1.0.0 refuses: pure checks of headers, signature and body."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from perf.providers.exchange import Refusal, parse_json

# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
TOLERANCE_S = 300
MAX_BODY_BYTES = 20 * 1024
MIN_SECRET_BYTES, MAX_SECRET_BYTES = 24, 64
_PREFIX = "whsec_"


class SecretError(ValueError):
    """A secret is `whsec_` and the base64 of 24 to 64 bytes; give one of that form."""


def parse_secret(secret: str) -> bytes:
    """Return the key of a `whsec_` secret; raises SecretError."""
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise SecretError("the secret is not base64") from error
    if not secret.startswith(_PREFIX) or not MIN_SECRET_BYTES <= len(key) <= MAX_SECRET_BYTES:
        raise SecretError("a secret is whsec_ and 24 to 64 bytes in base64")
    return key


def sign(key: bytes, *, webhook_id: str, timestamp: str, body: bytes) -> str:
    """Return `v1,` and the base64 of the HMAC-SHA256 over `id.timestamp.body`."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def check_signature(headers: Mapping[str, str], body: bytes, *, keys: Sequence[bytes], now_s: float) -> Refusal | None:
    """Refuse with 401 missing headers, a timestamp off by more than 5 minutes, or no signature by one of `keys`."""
    webhook_id, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not webhook_id or not headers.get("webhook-signature"):
        return _unauthorized("webhook-id, webhook-timestamp and webhook-signature are required")
    if not (timestamp.isascii() and timestamp.isdigit()) or abs(now_s - int(timestamp)) > TOLERANCE_S:
        return _unauthorized("webhook-timestamp is not within 5 minutes")
    given = headers["webhook-signature"].split(" ")
    for key in keys:
        wanted = sign(key, webhook_id=webhook_id, timestamp=timestamp, body=body)
        if any(hmac.compare_digest(wanted.encode(), signature.encode()) for signature in given):
            return None
    return _unauthorized("no signature matches a secret of this receiver")


def _unauthorized(message: str) -> Refusal:
    return Refusal(status=401, error="unauthorized", message=message)


def check(body: bytes) -> Refusal | None:
    """Refuse a body of 20 KB or more, and one that is not `{type, timestamp, data}`."""
    if len(body) >= MAX_BODY_BYTES:
        return Refusal(status=413, error="too_large", message="a payload must be smaller than 20 KB")
    try:
        payload: Any = parse_json(body)
    except ValueError:
        return Refusal(error="invalid_json", message="the body is not JSON")
    if not isinstance(payload, dict) or not {"type", "timestamp", "data"} <= set(payload):
        return Refusal(error="invalid_payload", message="type, timestamp and data are required")
    if not isinstance(payload["type"], str) or not payload["type"]:
        return Refusal(error="invalid_payload", field="type", message="type is a non-empty string")
    if not _is_time(payload["timestamp"]):
        return Refusal(error="invalid_payload", field="timestamp", message="timestamp is ISO 8601 with an offset")
    return None


def _is_time(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is not None
    except (TypeError, ValueError):
        return False
