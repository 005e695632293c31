"""Owns what a verified notification of SES does: suppressions at once, and an event for each destination."""

import dataclasses
import datetime as dt
from typing import Any, Final

import msgspec

from ingest_api.collector import Hit
from ingest_api.hooks import sns
from ingest_api.hooks.certificates import CachedKeys, Certificates, FetchError
from ingest_api.hooks.links import is_ours
from ingest_api.hooks.refusals import malformed, refused
from ingest_api.hooks.resolving import deliveries_of
from ingest_api.judging import Judge
from ingest_api.limits import TooDeepError, check_depth
from ingest_api.problems import unavailable
from ingest_api.resources import Resources
from ingest_api.suppressing import suppress_at_once
from publishing.domain.links import ReaderLink
from publishing.domain.outside_ids import outside_id
from publishing.domain.ses_events import SesEvent, SesEventError, SesNotification, parse_notification
from publishing.domain.verdicts import Judgement, judgement_of
from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from publishing.stores.callbacks import KnownDelivery
from publishing.stores.suppressions import Suppression
from schemas.messages import AgentFamily, EngagementKind, NetworkClass

PROVIDER: Final = "ses"
SOURCE: Final = "ingest_api/hooks/ses"
# The name by which a message of SNS is one event, whenever and wherever it comes again.
ID_SOURCE: Final = "sns"
_TOUCHES: Final = frozenset({EngagementKind.OPENED, EngagementKind.CLICKED})
# What ends sending, and the word that the suppression keeps of it.
_ENDINGS: Final[dict[EngagementKind, Any]] = {
    EngagementKind.BOUNCED: "bounced",
    EngagementKind.COMPLAINED: "complained",
    EngagementKind.UNSUBSCRIBED: "unsubscribed",
}

log = get_logger(__name__)


class SesHook:
    """Takes what SNS posts for SES."""

    def __init__(self, resources: Resources, judge: Judge, certificates: Certificates) -> None:
        """Trust the topics of the settings."""
        settings = resources.settings
        self._resources = resources
        self._judge = judge
        self._certificates = certificates
        topic_arns = [arn for arn in settings.sns_topic_arns.split(",") if arn]
        self._verifier = sns.SnsVerifier(CachedKeys(certificates), topic_arns, takes_v1=settings.sns_signature_v1)

    async def receive(self, body: bytes, now: dt.datetime) -> None:
        """Return once all that the message says is durable; raises the problem that is answered otherwise."""
        message = sns.parse_message(body)
        await self._verifier.verify(message, now)
        if message.type == sns.CONFIRMATION:
            await self._confirm(message)
        elif message.type == sns.ENDED:
            # Whoever ended it may have meant to: it is told, and never taken back by ourselves.
            log.error("hook.subscription_ended", provider=PROVIDER)
        else:
            await self._take(message)

    async def _confirm(self, message: sns.SnsMessage) -> None:
        if not sns.confirms(message):
            raise refused(PROVIDER, "subscribe_url")
        assert message.subscribe_url is not None
        try:
            await self._certificates.fetch(message.subscribe_url)
        except FetchError as error:
            raise unavailable("provider") from error
        log.info("hook.subscription_confirmed", provider=PROVIDER)

    async def _take(self, message: sns.SnsMessage) -> None:
        notification = _notification(message)
        if notification is None or not notification.events:
            metrics.HOOK_EVENTS.labels(PROVIDER, notification.name if notification else "Notice", "ignored").inc()
            return
        deliveries = await deliveries_of(self._resources, notification)
        events = list(zip(notification.events, deliveries, strict=True))
        known = [(place, event, delivery) for place, (event, delivery) in enumerate(events) if delivery is not None]
        for event, delivery in events:
            if delivery is None:
                metrics.HOOK_EVENTS.labels(PROVIDER, event.kind.value, "unknown").inc()
        await suppress_at_once(
            self._resources, [_suppression(event, one) for _, event, one in known if event.kind in _ENDINGS]
        )
        await self._record(message.message_id, notification, known)

    async def _record(
        self, message_id: str, notification: SesNotification, known: list[tuple[int, SesEvent, KnownDelivery]]
    ) -> None:
        hits = []
        for place, event, delivery in known:
            hit = self._hit(event, delivery, notification.sent_at_ms)
            if hit is None:
                metrics.HOOK_EVENTS.labels(PROVIDER, event.kind.value, "ignored").inc()
            else:
                hits.append(dataclasses.replace(hit, event_id=outside_id(ID_SOURCE, f"{message_id}/{place}")))
        is_durable = await self._resources.collector.record_many(hits)
        for hit in hits:
            metrics.HOOK_EVENTS.labels(PROVIDER, hit.kind.value, "counted" if is_durable else "dropped").inc()
        if not is_durable:
            raise unavailable("broker")

    def _hit(self, event: SesEvent, delivery: KnownDelivery, sent_at_ms: int) -> Hit | None:
        """The hit of an event; None for one that the policy does not keep, or that our own link has counted."""
        destination, judgement = delivery.destination, _UNJUDGED
        if event.kind in _TOUCHES:
            reader = ReaderLink(
                run_id=delivery.run_id,
                publication_id=delivery.publication_id,
                channel_id=delivery.channel_id,
                destination=delivery.destination,
                arm=delivery.arm,
                sent_at_s=sent_at_ms // 1_000,
            )
            if not self._judge.is_counted(reader) or is_ours(self._resources, event.url):
                return None
            headers = {b"user-agent": (event.user_agent or "").encode("latin-1", "replace")}
            visitor = self._judge.visitor(headers, event.ip_address or "")
            destination, judgement = self._judge.hit(visitor, reader, None, event.occurred_at_ms)
        return Hit(
            occurred_at_ms=event.occurred_at_ms,
            kind=event.kind,
            judgement=judgement,
            run_id=delivery.run_id,
            publication_id=delivery.publication_id,
            channel_id=delivery.channel_id,
            destination=destination,
            arm=delivery.arm,
        )


# What a server tells of a delivery was done by neither a human nor a machine that reads it.
_UNJUDGED: Final[Judgement] = judgement_of(AgentFamily.UNKNOWN, NetworkClass.UNKNOWN, 0)


def _notification(message: sns.SnsMessage) -> SesNotification | None:
    """Read what SES said; None for what is about no message, such as the plain greeting of a new topic."""
    if not message.message.lstrip().startswith("{"):
        return None
    try:
        # To the edge this document was a string: its brackets were not counted there.
        check_depth(message.message.encode())
        return parse_notification(msgspec.json.decode(message.message))
    except SesEventError as error:
        raise malformed(PROVIDER, *(f"Message.{field}" for field in error.fields)) from None
    except (msgspec.DecodeError, TooDeepError):
        raise malformed(PROVIDER, "Message") from None


def _suppression(event: SesEvent, delivery: KnownDelivery) -> Suppression:
    """The suppression of an ending: of all e-mail, or for an unsubscription of the channel that it came from."""
    is_wish = event.kind is EngagementKind.UNSUBSCRIBED and delivery.channel_id
    return Suppression(
        destination=delivery.destination,
        scope=f"channel:{delivery.channel_id}" if is_wish else "email",
        reason=_ENDINGS[event.kind],
        source=SOURCE,
    )
