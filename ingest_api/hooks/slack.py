"""Owns what Slack posts: its signature over the raw bytes, the challenge of an address, and clicks on buttons."""

import datetime as dt
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Final
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta

from ingest_api.collector import Hit
from ingest_api.hooks.links import is_ours, read_click
from ingest_api.hooks.refusals import malformed, refused
from ingest_api.hooks.touches import Touches
from ingest_api.limits import TooDeepError, check_depth
from ingest_api.problems import unavailable
from ingest_api.resources import Resources
from publishing.domain.outside_ids import outside_id
from publishing.domain.verdicts import Visitor
from publishing.runtime import metrics
from schemas.messages import AgentFamily, EngagementKind, NetworkClass

PROVIDER: Final = "slack"
# https://docs.slack.dev/authentication/verifying-requests-from-slack
TOLERANCE_S: Final = 300
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
# Slack lets only a person press a button; which programme shows it to them, it does not say.
_PERSON: Final = Visitor(AgentFamily.BROWSER, NetworkClass.UNKNOWN, 0, is_private=False)


class _Action(msgspec.Struct):
    """One element that was used; https://docs.slack.dev/reference/interaction-payloads/block_actions-payload."""

    action_ts: Annotated[str, Meta(pattern=r"^[0-9]{9,12}(\.[0-9]{1,6})?\Z")]
    type: str = ""
    value: str | None = None
    url: str | None = None


class _Payload(msgspec.Struct):
    type: str
    challenge: Annotated[str, Meta(max_length=500)] | None = None
    trigger_id: str | None = None
    actions: Annotated[list[_Action], Meta(max_length=25)] = []


def is_signed(secrets: Sequence[bytes], headers: Mapping[bytes, bytes], body: bytes, now: dt.datetime) -> bool:
    """Whether one of the secrets signed these very bytes within 5 minutes of now.

    `v0=` and the hexadecimal HMAC-SHA256 of `v0:timestamp:body`; every secret is tried, so that time tells nothing.
    """
    timestamp = headers.get(b"x-slack-request-timestamp", b"")
    if not _TIMESTAMP.fullmatch(timestamp) or abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        return False
    signed = b":".join((b"v0", timestamp, body))
    given = headers.get(b"x-slack-signature", b"")
    expected = [b"v0=" + hmac.digest(secret, signed, hashlib.sha256).hex().encode() for secret in secrets]
    return any([hmac.compare_digest(given, one) for one in expected])  # noqa: C419  - no secret is left untried


class SlackHook:
    """Takes what Slack posts."""

    def __init__(self, resources: Resources, touches: Touches) -> None:
        """Trust the secrets of the settings."""
        given = resources.settings.slack_signing_secrets
        self._secrets = [one.strip().encode() for one in (given.get_secret_value() if given else "").split(",")]
        self._secrets = [one for one in self._secrets if one]
        self._resources = resources
        self._touches = touches

    async def receive(self, headers: Mapping[bytes, bytes], body: bytes, now: dt.datetime) -> str | None:
        """Return the challenge to be repeated, or None once the clicks are durable; raises the problem otherwise."""
        if not self._secrets or not is_signed(self._secrets, headers, body, now):
            raise refused(PROVIDER, "signature")
        payload = _payload(body)
        if payload.type == "url_verification":
            if payload.challenge is None:
                raise malformed(PROVIDER, "challenge")
            return payload.challenge
        if payload.type == "block_actions":
            await self._take(payload)
        else:
            metrics.HOOK_EVENTS.labels(PROVIDER, "other", "ignored").inc()
        return None

    async def _take(self, payload: _Payload) -> None:
        hits = [hit for place, one in enumerate(payload.actions) if (hit := self._hit(payload, place, one))]
        metrics.HOOK_EVENTS.labels(PROVIDER, "clicked", "ignored").inc(len(payload.actions) - len(hits))
        is_durable = await self._resources.collector.record_many(hits)
        metrics.HOOK_EVENTS.labels(PROVIDER, "clicked", "counted" if is_durable else "dropped").inc(len(hits))
        if not is_durable:
            raise unavailable("broker")

    def _hit(self, payload: _Payload, place: int, action: _Action) -> Hit | None:
        """The click on a button whose value is one of our links.

        A button whose address is one opens it in the reader's browser, which counts it: to count this too were twice.
        """
        if is_ours(self._resources, action.url):
            return None
        click = read_click(self._resources, action.value)
        if click is None:
            return None
        name = f"{payload.trigger_id or action.action_ts}/{place}"
        return self._touches.hit(
            EngagementKind.CLICKED,
            int(float(action.action_ts) * 1_000),
            visitor=_PERSON,
            reader=click[0],
            article=click[1],
            event_id=outside_id(PROVIDER, name),
        )


def _payload(body: bytes) -> _Payload:
    """Read a payload: JSON, or JSON in the one field of a form; raises a 400 problem."""
    try:
        text = body
        if body[:1] != b"{":
            text = parse_qs(body.decode("ascii"), max_num_fields=4).get("payload", [""])[0].encode()
            # To the edge this document was a form: its brackets were not counted there.
            check_depth(text)
        return msgspec.json.decode(text, type=_Payload)
    except msgspec.ValidationError:
        raise malformed(PROVIDER, "payload.actions" if b"action_ts" in body else "payload.type") from None
    except (msgspec.DecodeError, ValueError, TooDeepError):
        raise malformed(PROVIDER, "payload") from None
