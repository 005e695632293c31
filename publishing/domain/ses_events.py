"""Owns what Amazon SES says of a message: every type of event, in both forms, as events of ours, one a destination."""

import dataclasses
import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from email.utils import parseaddr
from types import MappingProxyType
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from schemas.messages import EngagementKind

# https://docs.aws.amazon.com/ses/latest/dg/event-publishing-retrieving-sns-contents.html and, for notificationType,
# https://docs.aws.amazon.com/ses/latest/dg/notification-contents.html
# A message has at most 50 recipients: https://docs.aws.amazon.com/ses/latest/dg/quotas.html
MAX_DESTINATIONS: Final = 50
# Refused for what the message is, not for where it goes: the address is as good as before.
CONTENT_BOUNCES: Final = frozenset({"MessageTooLarge", "ContentRejected", "AttachmentRejected"})
# Delivery time expired, and no route to the host (RFC 3463, sections 3.5 and 3.5): Amazon has tried for hours.
LASTING_STATUSES: Final = frozenset({"4.4.7", "5.4.4"})
# Reports that are no complaint: RFC 6430 takes one back, and RFC 6591 tells of authentication.
NO_COMPLAINTS: Final = frozenset({"not-spam", "auth-failure"})

_NOTICES: Final = frozenset({"AmazonSnsSubscriptionSucceeded"})
_YEARS: Final = range(2000, 2100)
_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MILLISECOND: Final = dt.timedelta(milliseconds=1)
_PLACE = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING = re.compile(r"missing required field `([A-Za-z]{1,40})`")


class SesEventError(ValueError):
    """The document is no event of SES as Amazon describes it: the named fields are missing or wrong."""

    def __init__(self, *fields: str) -> None:
        """Keep the paths of the fields, which repeat nothing of what was sent."""
        super().__init__(", ".join(fields))
        self.fields = fields


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SesEvent:
    """What happened to one destination of a message, None for a message whose destinations are not named.

    `address` and `ip_address` are for a look-up and a verdict, and then to be dropped. `is_soft` says that the address
    refused for the time being: five in a row would end sending to it.
    """

    kind: EngagementKind
    occurred_at_ms: int
    address: str | None = dataclasses.field(default=None, repr=False)
    is_soft: bool = False
    ip_address: str | None = dataclasses.field(default=None, repr=False)
    user_agent: str | None = dataclasses.field(default=None, repr=False)
    url: str | None = dataclasses.field(default=None, repr=False)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SesNotification:
    """One notification: the message, what it was tagged with when it was sent, how many it went to, and the events.

    `name` is the type's own, of Amazon's closed list. No events: there is nothing to count.
    """

    name: str
    message_id: str
    sent_at_ms: int
    tags: Mapping[str, str]
    destination_count: int
    events: Sequence[SesEvent]


class _Part(msgspec.Struct, rename="camel"):
    """A part of a document; what it does not name is passed over."""


class _Recipient(_Part):
    email_address: str
    status: str | None = None


_Recipients = Annotated[list[_Recipient], Meta(min_length=1, max_length=MAX_DESTINATIONS)]
_Addresses = Annotated[list[str], Meta(max_length=MAX_DESTINATIONS)]


class _Header(_Part):
    name: str
    value: str


class _Mail(_Part):
    message_id: Annotated[str, Meta(min_length=1, max_length=200)]
    timestamp: str
    destination: _Addresses = []
    tags: dict[str, list[str]] = {}
    headers: list[_Header] = []


class _Timed(_Part):
    timestamp: str | None = None


class _Bounce(_Timed, kw_only=True):
    bounce_type: str
    bounce_sub_type: str = ""
    bounced_recipients: _Recipients


class _Complaint(_Timed, kw_only=True):
    complained_recipients: _Recipients
    complaint_feedback_type: str | None = None


class _Delivery(_Timed):
    recipients: _Addresses = []


class _Touch(_Timed):
    ip_address: str | None = None
    user_agent: str | None = None
    link: str | None = None


class _DeliveryDelay(_Timed, kw_only=True):
    delayed_recipients: _Recipients


class _TopicPreference(_Part):
    topic_name: str
    subscription_status: str


class _Preferences(_Part):
    unsubscribe_all: bool = False
    topic_subscription_status: list[_TopicPreference] = []

    def refused(self) -> set[str]:
        """The topics that the reader does not want."""
        return {one.topic_name for one in self.topic_subscription_status if one.subscription_status == "OptOut"}


class _Subscription(_Timed, kw_only=True):
    new_topic_preferences: _Preferences
    old_topic_preferences: _Preferences = msgspec.field(default_factory=_Preferences)


class _Document(_Part):
    mail: _Mail
    bounce: _Bounce | None = None
    complaint: _Complaint | None = None
    delivery: _Delivery | None = None
    open: _Touch | None = None
    click: _Touch | None = None
    delivery_delay: _DeliveryDelay | None = None
    subscription: _Subscription | None = None


def parse_notification(document: Any) -> SesNotification | None:
    """Read a decoded notification; None for one that is about no message; raises SesEventError."""
    if not isinstance(document, dict):
        raise SesEventError("Message")
    name = document.get("eventType", document.get("notificationType"))
    if not isinstance(name, str) or name not in _READINGS.keys() | _NOTICES:
        raise SesEventError("eventType")
    if name in _NOTICES:
        return None
    try:
        found = msgspec.convert(document, _Document)
    except msgspec.ValidationError as error:
        raise SesEventError(_field_of(str(error))) from None
    return SesNotification(
        name=name,
        message_id=found.mail.message_id,
        sent_at_ms=_at_ms(None, "mail", found.mail),
        tags=_tags(found.mail),
        destination_count=len(found.mail.destination),
        events=tuple(_READINGS[name](found)),
    )


def classify_bounce(bounce_type: str, sub_type: str, status: str | None) -> tuple[EngagementKind, bool]:
    """What a bounce is, and whether it is a soft one.

    A permanent one ends sending, and so does a transient one that has lasted (4.4.7, 5.4.4); one for size or content
    is a failure of the message that says nothing of the address.
    """
    if bounce_type == "Permanent":
        return EngagementKind.BOUNCED, False
    if sub_type in CONTENT_BOUNCES:
        return EngagementKind.FAILED, False
    if status is not None and status.strip() in LASTING_STATUSES:
        return EngagementKind.BOUNCED, False
    return EngagementKind.DEFERRED, True


def _bounce(found: _Document) -> Iterator[SesEvent]:
    bounce = _present(found.bounce, "bounce")
    at_ms = _at_ms(bounce, "bounce", found.mail)
    for recipient in bounce.bounced_recipients:
        kind, is_soft = classify_bounce(bounce.bounce_type, bounce.bounce_sub_type, recipient.status)
        yield SesEvent(kind=kind, occurred_at_ms=at_ms, address=_address(recipient.email_address), is_soft=is_soft)


def _complaint(found: _Document) -> Iterator[SesEvent]:
    complaint = _present(found.complaint, "complaint")
    at_ms = _at_ms(complaint, "complaint", found.mail)
    if complaint.complaint_feedback_type in NO_COMPLAINTS:
        return iter(())
    addresses = [one.email_address for one in complaint.complained_recipients]
    return _each(EngagementKind.COMPLAINED, addresses, at_ms)


def _delivery(found: _Document) -> Iterator[SesEvent]:
    delivery = _present(found.delivery, "delivery")
    at_ms = _at_ms(delivery, "delivery", found.mail)
    return _each(EngagementKind.DELIVERED, delivery.recipients or found.mail.destination, at_ms)


def _delay(found: _Document) -> Iterator[SesEvent]:
    delay = _present(found.delivery_delay, "deliveryDelay")
    addresses = [one.email_address for one in delay.delayed_recipients]
    return _each(EngagementKind.DEFERRED, addresses, _at_ms(delay, "deliveryDelay", found.mail))


def _failure(found: _Document) -> Iterator[SesEvent]:
    return _each(EngagementKind.FAILED, found.mail.destination, _at_ms(None, "mail", found.mail))


def _nothing(found: _Document) -> Iterator[SesEvent]:
    # A Send says what the sink has recorded itself, as accepted.
    del found
    return iter(())


def _open(found: _Document) -> Iterator[SesEvent]:
    return _touches(EngagementKind.OPENED, _present(found.open, "open"), "open", found.mail)


def _click(found: _Document) -> Iterator[SesEvent]:
    return _touches(EngagementKind.CLICKED, _present(found.click, "click"), "click", found.mail)


def _touches(kind: EngagementKind, touch: _Touch, name: str, mail: _Mail) -> Iterator[SesEvent]:
    for event in _each(kind, mail.destination, _at_ms(touch, name, mail)):
        yield dataclasses.replace(event, ip_address=touch.ip_address, user_agent=touch.user_agent, url=touch.link)


def _subscription(found: _Document) -> Iterator[SesEvent]:
    change = _present(found.subscription, "subscription")
    at_ms = _at_ms(change, "subscription", found.mail)
    new, old = change.new_topic_preferences, change.old_topic_preferences
    if not new.unsubscribe_all and new.refused() <= old.refused():
        return iter(())
    return _each(EngagementKind.UNSUBSCRIBED, found.mail.destination, at_ms)


_READINGS: Final[Mapping[str, Callable[[_Document], Iterator[SesEvent]]]] = MappingProxyType(
    {
        "Bounce": _bounce,
        "Complaint": _complaint,
        "Delivery": _delivery,
        "Send": _nothing,
        "Reject": _failure,
        "Open": _open,
        "Click": _click,
        "Rendering Failure": _failure,
        "DeliveryDelay": _delay,
        "Subscription": _subscription,
    }
)
EVENT_TYPES: Final = frozenset(_READINGS)


def _each(kind: EngagementKind, addresses: Sequence[str], at_ms: int) -> Iterator[SesEvent]:
    for address in addresses or [""]:
        yield SesEvent(kind=kind, occurred_at_ms=at_ms, address=_address(address))


def _address(text: str) -> str | None:
    """The bare address, of `Name <address>` as well."""
    return parseaddr(text)[1] or None


def _tags(mail: _Mail) -> dict[str, str]:
    """What the message was tagged with; a notification without tags may carry the delivery as a header."""
    tags = {name: values[0] for name, values in mail.tags.items() if values}
    if "delivery" not in tags:
        named = [one.value for one in mail.headers if one.name.lower() == "x-tidewire-delivery"]
        tags |= {"delivery": named[0]} if named else {}
    return tags


def _present(part: Any, name: str) -> Any:
    if part is None:
        raise SesEventError(name)
    return part


def _at_ms(part: _Timed | None, name: str, mail: _Mail) -> int:
    """The event's own time, else the message's, in Unix milliseconds; never ours, so that a repeat has the same."""
    text = mail.timestamp if part is None or part.timestamp is None else part.timestamp
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        raise SesEventError(f"{name}.timestamp") from None
    if at.year not in _YEARS:
        raise SesEventError(f"{name}.timestamp")
    at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return (at - _EPOCH) // _MILLISECOND


def _field_of(message: str) -> str:
    place, missing = _PLACE.search(message), _MISSING.search(message)
    path = place[1] if place else ""
    return f"{path}.{missing[1]}".strip(".") if missing else path or "Message"
