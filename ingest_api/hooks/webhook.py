"""Owns what a webhook's receiving end calls back with, signed by Standard Webhooks 1.0.0 with the channel's secret."""

import base64
import datetime as dt
import hashlib
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from ingest_api.collector import Hit
from ingest_api.hooks.refusals import malformed, refused
from ingest_api.hooks.touches import Touches
from ingest_api.problems import unavailable
from ingest_api.resources import Resources
from publishing.domain.links import ReaderLink
from publishing.domain.outside_ids import outside_id
from publishing.domain.verdicts import judgement_of
from publishing.runtime import metrics
from publishing.runtime.sealing import SealError
from publishing.stores.callbacks import CallbackChannel, KnownDelivery, read_channel, read_delivery
from publishing.stores.channels import config_label
from schemas.messages import AgentFamily, EngagementKind, NetworkClass

PROVIDER: Final = "webhook"
KIND: Final = "webhook"
# https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
TOLERANCE_S: Final = 300
MAX_SIGNATURES: Final = 10
# Keys of that many channels are kept open; the rest are opened again.
MAX_OPEN: Final = 1_024

_ID = re.compile(rb"[\x21-\x7e]{1,256}")
_TIMESTAMP = re.compile(rb"[0-9]{1,12}")
_DELIVERY = re.compile(r"dlv_([0-9]{1,18})_([0-9]{1,9})_([0-9]{1,18})", re.ASCII)
_TOUCHES: Final = frozenset({EngagementKind.OPENED, EngagementKind.CLICKED})
_YEARS: Final = range(2000, 2100)
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_Number = Annotated[int, Meta(ge=1, le=10**18 - 1)]


class _About(msgspec.Struct):
    """What a callback is about: our `webhook-id`, or the run; who did it, when the receiving end says so."""

    delivery: str | None = None
    run_id: _Number | None = None
    user_agent: str | None = None
    ip_address: str | None = None


class _Callback(msgspec.Struct):
    type: Literal["delivered", "opened", "clicked", "failed"]
    timestamp: Annotated[dt.datetime, Meta(tz=True)]
    data: _About


def is_signed(keys: Sequence[bytes], headers: Mapping[bytes, bytes], body: bytes, now: dt.datetime) -> bool:
    """Whether one of the keys signed these very bytes within 5 minutes of now.

    `webhook-signature` lists `v1,` and base64 of HMAC-SHA256 over `id.timestamp.body`; every pair is compared.
    """
    webhook_id, timestamp = headers.get(b"webhook-id", b""), headers.get(b"webhook-timestamp", b"")
    if not _ID.fullmatch(webhook_id) or not _TIMESTAMP.fullmatch(timestamp):
        return False
    if abs(now.timestamp() - int(timestamp)) > TOLERANCE_S:
        return False
    signed = b".".join((webhook_id, timestamp, body))
    given = headers.get(b"webhook-signature", b"").split(b" ")[:MAX_SIGNATURES]
    expected = [b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)) for key in keys]
    return any([hmac.compare_digest(one, other) for one in given for other in expected])  # noqa: C419  - none untried


class WebhookHook:
    """Takes what the receiving ends of webhooks post."""

    def __init__(self, resources: Resources, touches: Touches) -> None:
        """Open no channel yet."""
        self._resources = resources
        self._touches = touches
        self._keys: dict[int, tuple[int, tuple[bytes, ...]]] = {}

    async def receive(self, channel_id: int, headers: Mapping[bytes, bytes], body: bytes, now: dt.datetime) -> None:
        """Return once what the callback says is durable; raises the problem that is answered otherwise."""
        channel = await read_channel(self._resources.pool.require(), channel_id)
        # A channel that is not there is answered as a signature that is wrong: nobody learns which there are.
        if channel is None or channel.kind != KIND or channel.destination is None:
            raise refused(PROVIDER, "channel")
        if not is_signed(self._opened(channel), headers, body, now):
            raise refused(PROVIDER, "signature")
        callback = _read(body)
        run_id = _run_of(callback.data, channel_id, channel.destination)
        delivery = await read_delivery(
            self._resources.pool.require(), run_id=run_id, channel_id=channel_id, destination=channel.destination
        )
        if delivery is None:
            metrics.HOOK_EVENTS.labels(PROVIDER, callback.type, "unknown").inc()
            return
        await self._record(callback, delivery, outside_id(f"webhook/{channel_id}", headers[b"webhook-id"].decode()))

    async def _record(self, callback: _Callback, delivery: KnownDelivery, event_id: bytes) -> None:
        hit = self._hit(callback, delivery, event_id)
        if hit is None:
            metrics.HOOK_EVENTS.labels(PROVIDER, callback.type, "ignored").inc()
            return
        is_durable = await self._resources.collector.record_many([hit])
        metrics.HOOK_EVENTS.labels(PROVIDER, callback.type, "counted" if is_durable else "dropped").inc()
        if not is_durable:
            raise unavailable("broker")

    def _hit(self, callback: _Callback, delivery: KnownDelivery, event_id: bytes) -> Hit | None:
        kind = EngagementKind(callback.type)
        occurred_at_ms = int(callback.timestamp.timestamp() * 1_000)
        numbers: dict[str, Any] = {
            "run_id": delivery.run_id,
            "publication_id": delivery.publication_id,
            "channel_id": delivery.channel_id,
            "destination": delivery.destination,
            "arm": delivery.arm,
        }
        if kind in _TOUCHES:
            visitor = self._touches.visitor(callback.data.user_agent or "", callback.data.ip_address or "")
            if callback.data.user_agent is None:
                visitor = visitor._replace(agent=AgentFamily.UNKNOWN)
            reader = ReaderLink(**numbers)
            return self._touches.hit(kind, occurred_at_ms, visitor=visitor, reader=reader, event_id=event_id)
        judgement = judgement_of(AgentFamily.UNKNOWN, NetworkClass.UNKNOWN, 0)
        return Hit(occurred_at_ms=occurred_at_ms, kind=kind, judgement=judgement, event_id=event_id, **numbers)

    def _opened(self, channel: CallbackChannel) -> tuple[bytes, ...]:
        """The keys of a channel at its version; raises a 403 problem when they do not open."""
        from sinks.channels.webhook import CHANNEL
        from sinks.contract import ConfigError

        known = self._keys.get(channel.id)
        if known is not None and known[0] == channel.version:
            return known[1]
        try:
            plain = json.loads(self._resources.sealer.open_config(config_label(channel.id), channel.config_sealed))
            keys = CHANNEL.parse_config(plain).keys
        except (SealError, ConfigError, ValueError) as error:
            raise refused(PROVIDER, "sealed") from error
        if len(self._keys) >= MAX_OPEN:
            self._keys.clear()
        self._keys[channel.id] = (channel.version, keys)
        return keys


def _read(body: bytes) -> _Callback:
    try:
        callback = msgspec.json.decode(body, type=_Callback)
    except msgspec.ValidationError as error:
        place = _PLACE.search(str(error))
        raise malformed(PROVIDER, place[1] if place else "type") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise malformed(PROVIDER, "") from None
    if callback.timestamp.year not in _YEARS:
        raise malformed(PROVIDER, "timestamp")
    return callback


def _run_of(about: _About, channel_id: int, destination: int) -> int:
    """The run that a callback is about; raises a 400 problem for another channel's delivery."""
    if about.delivery is None:
        if about.run_id is None:
            raise malformed(PROVIDER, "data.run_id")
        return about.run_id
    named = _DELIVERY.fullmatch(about.delivery)
    if named is None or (int(named[2]), int(named[3])) != (channel_id, destination):
        raise malformed(PROVIDER, "data.delivery")
    return int(named[1])
