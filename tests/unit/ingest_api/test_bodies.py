"""Bodies: what is read, what is refused by which field, and that nothing that was sent comes back."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.bodies import ChannelBody, PublicationBody, SubscriberBody, parse, parse_line
from ingest_api.problems import ProblemError

pytestmark = pytest.mark.unit

READER: dict[str, Any] = {
    "email": "canary@example.org",
    "external_id": "crm-7",
    "time_zone": "Europe/Paris",
    "topics": {"databases": 1.0},
    "cadence": "daily",
    "channels": {"email": True},
    "caps": {"email": {"day": 3}},
    "attributes": {"plan": "pro", "age": 3, "ratio": 0.5, "is_vip": True, "none": None},
}
PUBLICATION: dict[str, Any] = {"name": "Weekly", "trigger": {"kind": "now"}, "channels": [1, 3]}
CHANNEL: dict[str, Any] = {"kind": "slack", "name": "eng", "config": {"webhook_url": "https://example.org/x"}}


def refused(body_type: Any, raw: bytes) -> set[str]:
    """The fields that a body is refused for; none of the errors repeats a value."""
    with pytest.raises(ProblemError) as caught:
        parse(body_type, raw)
    assert caught.value.status == 422
    assert b"canary" not in caught.value.body()
    return {error.field for error in caught.value.errors}


def test_whole_bodies_are_read() -> None:
    """The bodies of the contract are read as they are."""
    assert parse(SubscriberBody, json.dumps(READER).encode()).email == "canary@example.org"
    assert parse(PublicationBody, json.dumps(PUBLICATION).encode()).selection.count == 5
    assert parse(ChannelBody, json.dumps(CHANNEL | {"topics": {"a": 0.5}}).encode()).topics == {"a": 0.5}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "canary"}, "email"),
        ({"email": "a@canary"}, "email"),
        ({"email": "a..b@canary.org"}, "email"),
        ({"email": "a@b@canary.org"}, "email"),
        ({"email": "Canary <a@canary.org>"}, "email"),
        ({"email": "a@canary.org\r\nBcc: x@y.zz"}, "email"),
        ({"email": "a" * 65 + "@canary.org"}, "email"),
        ({"email": "a@" + "b" * 250 + ".org"}, "email"),
        ({"email": None, "external_id": None}, "email"),
        ({"email": 5}, "email"),
        ({"external_id": ""}, "external_id"),
        ({"external_id": "canary\u0000"}, "external_id"),
        ({"external_id": "canary\u007f"}, "external_id"),
        ({"attributes": {"plan": "canary\u0001"}}, "attributes"),
        ({"attributes": {"canary\u0000": "a"}}, "attributes"),
        ({"attributes": {"a": ["canary"]}}, "attributes"),
        ({"attributes": {"a": 10**400}}, "attributes"),
        ({"time_zone": "Mars/Canary"}, "time_zone"),
        ({"time_zone": "../../etc/canary"}, "time_zone"),
        ({"topics": {"databases": 1.5}}, "topics"),
        ({"topics": {"databases": -0.1}}, "topics"),
        ({"topics": {"": 0.1}}, "topics"),
        ({"topics": {"t" * 65: 0.1}}, "topics"),
        ({"topics": ["canary"]}, "topics"),
        ({"cadence": "canary"}, "cadence"),
        ({"channels": {"canary": True}}, "channels"),
        ({"caps": {"email": {"day": -1}}}, "caps"),
        ({"caps": {"email": {"canary": 1}}}, "caps"),
        ({"locale": "canary tag"}, "locale"),
        ({"canary@example.org": "x"}, "?"),
        ({"password": "canary"}, "password"),
    ],
)
def test_subscribers_are_refused(change: dict[str, Any], field: str) -> None:
    """A wrong field of a subscriber is named, and only that one."""
    assert refused(SubscriberBody, json.dumps(READER | change).encode()) == {field}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"trigger": {"kind": "every", "rrule": "FREQ=DAILY"}}, "trigger.kind"),
        ({"trigger": {"kind": "canary"}}, "trigger.kind"),
        ({"trigger": {"kind": "at"}}, "trigger.at"),
        ({"trigger": {"kind": "at", "at": "2026-01-05T09:00:00"}}, "trigger.at"),
        ({"trigger": {"kind": "at", "at": "1970-01-05T09:00:00Z"}}, "trigger.at"),
        ({"trigger": {"kind": "now", "local_time": "25:00"}}, "trigger.local_time"),
        ({"trigger": {}}, "trigger.kind"),
        ({"channels": []}, "channels"),
        ({"channels": [1, 1]}, "channels"),
        ({"channels": [0]}, "channels[0]"),
        ({"channels": [2**31]}, "channels[0]"),
        ({"selection": {"count": 0}}, "selection.count"),
        ({"selection": {"minimum_score": 1.1}}, "selection.minimum_score"),
        ({"selection": {"diversity": -1}}, "selection.diversity"),
        ({"content": {"max_age_hours": 0}}, "content.max_age_hours"),
        ({"content": {"type": "canary"}}, "content.type"),
        ({"audience": {"attributes": {"a": "\u0000"}}}, "audience.attributes"),
        ({"name": ""}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"priority": "canary"}, "priority"),
        ({"deadline_minutes": 0}, "deadline_minutes"),
    ],
)
def test_publications_are_refused(change: dict[str, Any], field: str) -> None:
    """A wrong field of a publication is named by its path, and only that one."""
    assert refused(PublicationBody, json.dumps(PUBLICATION | change).encode()) == {field}


@pytest.mark.parametrize(
    ("raw", "field"),
    [
        (b"", ""),
        (b"{", ""),
        (b"[]", ""),
        (b"null", ""),
        (b"\xff\xfe", ""),
        (b'{"external_id": "\xff"}', ""),
        (b'{"external_id": "\\ud800"}', ""),
        (b'{"external_id": "a\x00b"}', ""),
        (b'{"attributes": ' + b"[" * 100_000, "attributes"),
        (b'{"attributes": ' + b'{"a":' * 100_000, "attributes"),
    ],
)
def test_no_json(raw: bytes, field: str) -> None:
    """What is no JSON, or no object, is refused without a crash."""
    assert refused(SubscriberBody, raw) <= {field, ""}


@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    """No bytes raise anything but a problem."""
    found = parse_line(SubscriberBody, raw)
    assert isinstance(found, SubscriberBody | tuple)


@given(st.text(st.characters(codec="utf-8"), max_size=40))
def test_controls_never_pass(text: str) -> None:
    """A text passes if and only if no control character is in it."""
    found = parse_line(SubscriberBody, json.dumps({"external_id": "x", "attributes": {"a": text}}).encode())
    has_control = any(ord(letter) < 32 or ord(letter) == 127 for letter in text)
    assert isinstance(found, tuple) is has_control
