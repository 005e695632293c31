"""Owns what may be sent: the shapes of request bodies, and the checks that a shape cannot express."""

import datetime as dt
import functools
import re
import zoneinfo
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta

from ingest_api.problems import FieldError, ProblemError, invalid
from publishing.domain.publications import TriggerKind

Kind = Literal["email", "slack", "discord", "webhook", "feed"]
Topic = Annotated[str, Meta(min_length=1, max_length=64)]
Weight = Annotated[float, Meta(ge=0, le=1)]
Score = Annotated[float, Meta(ge=0, le=1)]
Topics = Annotated[list[Topic], Meta(max_length=100)]
TopicWeights = Annotated[dict[Topic, Weight], Meta(max_length=200)]
# Beyond 2^53 a reader of JSON that knows only floats would see another number (RFC 8259 section 6).
Whole = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Attribute = Annotated[str, Meta(max_length=500)] | Whole | float | bool | None
Attributes = Annotated[dict[Annotated[str, Meta(min_length=1, max_length=64)], Attribute], Meta(max_length=100)]
Period = Literal["hour", "day", "week", "month"]
Cap = Annotated[int, Meta(ge=0, le=10_000)]
ChannelNumber = Annotated[int, Meta(ge=1, le=2**31 - 1)]


class SubscriberBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A subscriber, named by e-mail address or external id; a field left out stays as it is."""

    # RFC 5321 section 4.5.3.1.3: a path has at most 256 octets, its brackets included.
    email: Annotated[str, Meta(max_length=254)] | None = None
    external_id: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    time_zone: Annotated[str, Meta(max_length=64)] | None = None
    locale: Annotated[str, Meta(max_length=35)] | None = None
    topics: TopicWeights | None = None
    cadence: Literal["immediate", "hourly", "daily", "weekly"] | None = None
    channels: dict[Kind, bool] | None = None
    caps: dict[Kind, dict[Period, Cap]] | None = None
    attributes: Attributes | None = None


class ChannelBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """A way out; what config holds depends on the kind, and it is never shown again."""

    kind: Kind
    name: Annotated[str, Meta(min_length=1, max_length=100)]
    config: dict[str, Any]
    topics: Topics | TopicWeights = []
    limits: dict[Annotated[str, Meta(min_length=1, max_length=40)], Annotated[float, Meta(ge=0, le=1e6)]] = {}


class TriggerBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """When a publication runs; `at` is needed by the kind of that name alone."""

    kind: TriggerKind
    at: Annotated[dt.datetime, Meta(tz=True)] | None = None
    rrule: Annotated[str, Meta(max_length=500)] | None = None
    local_time: Annotated[str, Meta(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")] | None = None


class ContentFilterBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which content a publication takes; an empty filter takes everything."""

    topics_any: Topics = []
    topics_all: Topics = []
    type: Literal["article", "alert"] | None = None
    max_age_hours: Annotated[int, Meta(ge=1, le=8_760)] = 168
    sources: Annotated[list[Annotated[str, Meta(min_length=1, max_length=100)]], Meta(max_length=100)] = []


class AudienceFilterBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """Which subscribers a publication addresses; an empty filter addresses all."""

    topics_any: Topics = []
    attributes: Attributes = {}


class SelectionBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """How many items a reader gets, from which score on, and how different they are to be."""

    count: Annotated[int, Meta(ge=1, le=50)] = 5
    minimum_score: Score = 0.05
    diversity: Score = 0.8


class PublicationBody(msgspec.Struct, forbid_unknown_fields=True, kw_only=True, frozen=True):
    """What is to be sent to whom, where and when."""

    name: Annotated[str, Meta(min_length=1, max_length=200)]
    trigger: TriggerBody
    channels: Annotated[list[ChannelNumber], Meta(min_length=1, max_length=50)]
    content: ContentFilterBody = ContentFilterBody()
    audience: AudienceFilterBody = AudienceFilterBody()
    selection: SelectionBody = SelectionBody()
    template_id: Annotated[int, Meta(ge=0, le=2**62)] = 1
    priority: Literal["bulk", "alert"] = "bulk"
    deadline_minutes: Annotated[int, Meta(ge=1, le=525_600)] | None = None


Body = TypeVar("Body", bound=SubscriberBody | ChannelBody | PublicationBody)

_PATH = re.compile(r" - at (?:`key` in )?`\$([^`]*)`$")
_FIELD = re.compile(r"(missing required|unknown) field `([^`]*)`")
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]{1,40}", re.ASCII)
_CONTROLS = re.compile("[\x00-\x1f\x7f]")
_EMAIL = re.compile(
    r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\u0080-\uffff-]{1,64}@"
    r"(?:[A-Za-z0-9\u0080-\uffff](?:[A-Za-z0-9\u0080-\uffff-]{0,61}[A-Za-z0-9\u0080-\uffff])?\.)+"
    r"[A-Za-z0-9\u0080-\uffff-]{2,63}"
)
_LOCALE = re.compile(r"[A-Za-z]{2,8}(?:[-_][A-Za-z0-9]{1,8})*", re.ASCII)
_YEARS = range(2000, 2100)


@functools.cache
def _time_zones() -> frozenset[str]:
    return frozenset(zoneinfo.available_timezones())


def parse(body_type: type[Body], raw: bytes) -> Body:
    """Read a body; raises a 422 problem that names the fields and repeats nothing of what was sent."""
    try:
        body = msgspec.json.decode(raw, type=body_type)
    except msgspec.ValidationError as error:
        raise invalid(shape_error(str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise invalid(FieldError("", "is not JSON")) from None
    errors = [*_controls(body, "")] if b"\\" in raw or b"\x7f" in raw else []
    errors += _checks(body)
    if errors:
        raise invalid(*errors)
    return body


def parse_line(body_type: type[Body], raw: bytes) -> Body | tuple[FieldError, ...]:
    """Read one line of many: the body, or what is wrong with it."""
    try:
        return parse(body_type, raw)
    except ProblemError as problem:
        return problem.errors


def shape_error(message: str) -> FieldError:
    """Return the field and the fault that msgspec names, without what was sent."""
    place = _PATH.search(message)
    path = place[1].replace("[...]", "").strip(".") if place else ""
    text = message[: place.start()] if place else message
    named = _FIELD.search(text)
    if named:
        name = named[2] if _PLAIN_NAME.fullmatch(named[2]) else "?"
        known = "is missing" if named[1].startswith("missing") else "is not a field that is known"
        return FieldError(f"{path}.{name}".strip("."), known)
    if text.startswith("Invalid enum value"):
        text = "is none of the values that are allowed"
    return FieldError(path, text)


def _controls(value: Any, path: str) -> Iterator[FieldError]:
    """Find control characters, NUL among them: PostgreSQL refuses that, and headers must not hold the others."""
    if isinstance(value, str):
        if _CONTROLS.search(value):
            yield FieldError(path, "holds a control character")
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            yield from _controls(getattr(value, name), f"{path}.{name}".strip("."))
    elif isinstance(value, dict):
        for key, entry in value.items():
            yield from _controls(key, path)
            yield from _controls(entry, path)
    elif isinstance(value, list):
        for entry in value:
            yield from _controls(entry, path)


def _checks(body: SubscriberBody | ChannelBody | PublicationBody) -> Iterator[FieldError]:
    if isinstance(body, SubscriberBody):
        return _subscriber_checks(body)
    if isinstance(body, PublicationBody):
        return _publication_checks(body)
    return iter(())


def _subscriber_checks(body: SubscriberBody) -> Iterator[FieldError]:
    if body.email is None and body.external_id is None:
        yield FieldError("email", "an e-mail address or an external_id is needed")
    if body.email is not None and (not _EMAIL.fullmatch(body.email) or ".." in body.email):
        yield FieldError("email", "is no e-mail address")
    if body.time_zone is not None and body.time_zone not in _time_zones():
        yield FieldError("time_zone", "is no IANA time zone")
    if body.locale is not None and not _LOCALE.fullmatch(body.locale):
        yield FieldError("locale", "is no language tag")


def _publication_checks(body: PublicationBody) -> Iterator[FieldError]:
    if body.trigger.kind is TriggerKind.EVERY:
        yield FieldError("trigger.kind", "every is not available yet; use now, at or on_content")
    if body.trigger.kind is TriggerKind.AT and body.trigger.at is None:
        yield FieldError("trigger.at", "is needed by the kind at")
    if body.trigger.at is not None and body.trigger.at.year not in _YEARS:
        yield FieldError("trigger.at", "is out of range")
    if len(set(body.channels)) != len(body.channels):
        yield FieldError("channels", "names a channel twice")
