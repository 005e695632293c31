"""What SES says, by one realistic example of each type and form (Amazon's own examples, with example addresses)."""

import copy
import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.ses_events import (
    CONTENT_BOUNCES,
    EVENT_TYPES,
    MAX_DESTINATIONS,
    SesEventError,
    classify_bounce,
    parse_notification,
)
from schemas.messages import EngagementKind as Kind

pytestmark = pytest.mark.unit

AT = "2016-10-19T23:20:52.240Z"
AT_MS = 1_476_919_252_240
MAIL: dict[str, Any] = {
    "timestamp": "2016-10-19T23:20:51.001Z",
    "source": "News <news@example.com>",
    "sourceArn": "arn:aws:ses:us-east-1:123456789012:identity/news@example.com",
    "sendingAccountId": "123456789012",
    "messageId": "EXAMPLE7c191be45-e9aedb9a-02f9-4d12-a87d-dd0099a07f8a-000000",
    "destination": ["canary@example.com"],
    "headersTruncated": False,
    "headers": [{"name": "From", "value": "news@example.com"}, {"name": "X-Tidewire-Delivery", "value": "77-3-41"}],
    "commonHeaders": {"from": ["news@example.com"], "subject": "Weekly"},
    "tags": {"ses:configuration-set": ["engagement"], "delivery": ["77-3-41"], "publication": ["12"], "arm": ["1"]},
}
SENT_MS = AT_MS - 1_239
BOUNCE: dict[str, Any] = {
    "bounceType": "Permanent",
    "bounceSubType": "General",
    "bouncedRecipients": [
        {
            "emailAddress": "canary@example.com",
            "action": "failed",
            "status": "5.1.1",
            "diagnosticCode": "smtp; 550 5.1.1 user unknown",
        }
    ],
    "timestamp": AT,
    "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
    "reportingMTA": "dsn; mta.example.com",
}
COMPLAINT: dict[str, Any] = {
    "complainedRecipients": [{"emailAddress": "canary@example.com"}],
    "timestamp": AT,
    "feedbackId": "01000157c44f053b-61b59c11-9236-11e6-8f96-7be8aexample-000000",
    "userAgent": "AnyCompany Feedback Loop (V0.01)",
    "complaintFeedbackType": "abuse",
    "complaintSubType": None,
    "arrivalDate": AT,
}
DELIVERY: dict[str, Any] = {
    "timestamp": AT,
    "processingTimeMillis": 546,
    "recipients": ["canary@example.com"],
    "smtpResponse": "250 ok:  Message 64111812 accepted",
    "remoteMtaIp": "192.0.2.54",
    "reportingMTA": "a8-70.smtp-out.amazonses.com",
}
TOUCH = {"ipAddress": "192.0.2.1", "timestamp": AT, "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"}
LINK = "https://example.com/canary"
DELAY: dict[str, Any] = {
    "timestamp": AT,
    "delayType": "TransientCommunicationFailure",
    "expirationTime": "2016-10-20T23:20:52.240Z",
    "delayedRecipients": [
        {"emailAddress": "canary@example.com", "status": "4.4.1", "diagnosticCode": "smtp; 421 4.4.1 Unable to connect"}
    ],
}
SUBSCRIPTION: dict[str, Any] = {
    "contactList": "ContactListName",
    "timestamp": AT,
    "source": "UnsubscribeHeader",
    "newTopicPreferences": {
        "unsubscribeAll": True,
        "topicSubscriptionStatus": [{"topicName": "weekly", "subscriptionStatus": "OptOut"}],
    },
    "oldTopicPreferences": {
        "unsubscribeAll": False,
        "topicSubscriptionStatus": [{"topicName": "weekly", "subscriptionStatus": "OptOut"}],
    },
}
FAILURE = {"errorMessage": "Attribute 'name' is not present in the rendering data.", "templateName": "Weekly"}

# type -> (the part of the document, our kind, the time that counts)
EXAMPLES: dict[str, tuple[dict[str, Any], Kind | None, int]] = {
    "Bounce": ({"bounce": BOUNCE}, Kind.BOUNCED, AT_MS),
    "Complaint": ({"complaint": COMPLAINT}, Kind.COMPLAINED, AT_MS),
    "Delivery": ({"delivery": DELIVERY}, Kind.DELIVERED, AT_MS),
    "Send": ({"send": {}}, None, 0),
    "Reject": ({"reject": {"reason": "Bad content"}}, Kind.FAILED, SENT_MS),
    "Open": ({"open": TOUCH}, Kind.OPENED, AT_MS),
    "Click": ({"click": TOUCH | {"link": LINK, "linkTags": {"k": ["v"]}}}, Kind.CLICKED, AT_MS),
    "Rendering Failure": ({"failure": FAILURE}, Kind.FAILED, SENT_MS),
    "DeliveryDelay": ({"deliveryDelay": DELAY}, Kind.DEFERRED, AT_MS),
    "Subscription": ({"subscription": SUBSCRIPTION}, Kind.UNSUBSCRIBED, AT_MS),
}


def document(name: str, form: str = "eventType", **changes: Any) -> dict[str, Any]:
    """An example of a type in one of the two forms, with other parts."""
    return copy.deepcopy({form: name, "mail": MAIL, **EXAMPLES[name][0], **changes})


def test_every_type_has_an_example() -> None:
    """The table of examples is total."""
    assert set(EXAMPLES) == EVENT_TYPES


@pytest.mark.parametrize("form", ["eventType", "notificationType"])
@pytest.mark.parametrize("name", EXAMPLES)
def test_types(name: str, form: str) -> None:
    """Each type, in both forms, is one event of one kind, at its own time, for its destination."""
    found = parse_notification(document(name, form))
    assert found is not None
    _, kind, at_ms = EXAMPLES[name]
    assert (found.name, found.message_id, found.destination_count) == (name, MAIL["messageId"], 1)
    assert (found.tags["delivery"], found.sent_at_ms) == ("77-3-41", SENT_MS)
    events = [(one.kind, one.occurred_at_ms, one.address) for one in found.events]
    assert events == ([] if kind is None else [(kind, at_ms, "canary@example.com")])


def test_touches_carry_their_evidence() -> None:
    """An open and a click by SES say who made them, for the verdict; a click says where it went."""
    opened, clicked = parse_notification(document("Open")), parse_notification(document("Click"))
    assert opened is not None
    assert clicked is not None
    for one in (opened.events[0], clicked.events[0]):
        assert (one.ip_address, one.user_agent) == (TOUCH["ipAddress"], TOUCH["userAgent"])
    assert (opened.events[0].url, clicked.events[0].url) == (None, LINK)


BOUNCES = [
    ("Permanent", "General", "5.1.1", Kind.BOUNCED, False),
    ("Permanent", "NoEmail", "5.1.1", Kind.BOUNCED, False),
    ("Permanent", "Suppressed", "5.1.1", Kind.BOUNCED, False),
    ("Permanent", "OnAccountSuppressionList", None, Kind.BOUNCED, False),
    ("Transient", "General", "4.2.0", Kind.DEFERRED, True),
    ("Transient", "General", None, Kind.DEFERRED, True),
    ("Transient", "General", "5.4.4", Kind.BOUNCED, False),
    ("Transient", "General", "4.4.7", Kind.BOUNCED, False),
    ("Transient", "MailboxFull", "5.2.2", Kind.DEFERRED, True),
    ("Transient", "MailboxFull", "4.4.7", Kind.BOUNCED, False),
    ("Transient", "MessageTooLarge", "5.3.4", Kind.FAILED, False),
    ("Transient", "ContentRejected", "5.6.1", Kind.FAILED, False),
    ("Transient", "AttachmentRejected", "5.6.0", Kind.FAILED, False),
    ("Transient", "ContentRejected", "5.4.4", Kind.FAILED, False),
    ("Transient", "CustomTimeoutExceeded", "4.4.70", Kind.DEFERRED, True),
    ("Undetermined", "Undetermined", "5.0.0", Kind.DEFERRED, True),
    ("Undetermined", "Undetermined", "5.4.4", Kind.BOUNCED, False),
    ("Somewhat", "New", None, Kind.DEFERRED, True),
]


@pytest.mark.parametrize(("bounce_type", "sub_type", "status", "kind", "is_soft"), BOUNCES)
def test_bounces(bounce_type: str, sub_type: str, status: str | None, kind: Kind, *, is_soft: bool) -> None:
    """A bounce ends sending when it is permanent or has lasted; size and content never count against the address."""
    assert classify_bounce(bounce_type, sub_type, status) == (kind, is_soft)
    recipient = {"emailAddress": "canary@example.com"} | ({"status": status} if status else {})
    bounce = BOUNCE | {"bounceType": bounce_type, "bounceSubType": sub_type, "bouncedRecipients": [recipient]}
    found = parse_notification(document("Bounce", bounce=bounce))
    assert found is not None
    assert [(one.kind, one.is_soft) for one in found.events] == [(kind, is_soft)]


@given(st.sampled_from(sorted(CONTENT_BOUNCES)), st.text(max_size=8))
def test_content_never_suppresses(sub_type: str, status: str) -> None:
    """Whatever the status, a refusal for size or content is neither soft nor the end of sending."""
    assert classify_bounce("Transient", sub_type, status) == (Kind.FAILED, False)


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name != "Send"])
def test_every_destination(name: str) -> None:
    """Each destination of a message has its event, not only the first; a name before an address is dropped."""
    addresses = [f"reader{number}@example.com" for number in range(3)]
    people = [{"emailAddress": f"Reader <{address}>", "status": "5.1.1"} for address in addresses]
    found = document(name)
    found["mail"]["destination"] = addresses
    for part, field in (("bounce", "bounced"), ("complaint", "complained"), ("deliveryDelay", "delayed")):
        if part in found:
            found[part][f"{field}Recipients"] = people
    if "delivery" in found:
        found["delivery"]["recipients"] = addresses
    read = parse_notification(found)
    assert read is not None
    assert [one.address for one in read.events] == addresses
    assert read.destination_count == 3


@pytest.mark.parametrize(("feedback", "count"), [("not-spam", 0), ("auth-failure", 0), ("fraud", 1), (None, 1)])
def test_reports_that_are_no_complaint(feedback: str | None, count: int) -> None:
    """A report that takes a complaint back, or tells of authentication, ends nothing."""
    found = parse_notification(document("Complaint", complaint=COMPLAINT | {"complaintFeedbackType": feedback}))
    assert found is not None
    assert len(found.events) == count


@pytest.mark.parametrize(
    ("is_all", "before", "after", "count"),
    [
        (True, "OptIn", "OptIn", 1),
        (False, "OptIn", "OptOut", 1),
        (False, "OptOut", "OptOut", 0),
        (False, "OptOut", "OptIn", 0),
    ],
)
def test_subscriptions(before: str, after: str, count: int, *, is_all: bool) -> None:
    """Only a wish to get less is an unsubscribe: everything, or a topic that was wanted before."""
    preferences = [
        {"unsubscribeAll": is_all, "topicSubscriptionStatus": [{"topicName": "weekly", "subscriptionStatus": status}]}
        for status in (before, after)
    ]
    change = SUBSCRIPTION | {
        "oldTopicPreferences": preferences[0] | {"unsubscribeAll": False},
        "newTopicPreferences": preferences[1],
    }
    found = parse_notification(document("Subscription", subscription=change))
    assert found is not None
    assert len(found.events) == count


def test_a_notification_without_tags_names_its_delivery_by_a_header() -> None:
    """The older form has no tags; the header of our own message says the same, and a tag goes before it."""
    mail = {name: value for name, value in MAIL.items() if name != "tags"}
    found = parse_notification(document("Delivery", "notificationType", mail=mail))
    assert found is not None
    assert found.tags == {"delivery": "77-3-41"}
    tagged = parse_notification(document("Delivery", mail=MAIL | {"tags": {"delivery": ["1-2-3"], "empty": []}}))
    assert tagged is not None
    assert tagged.tags == {"delivery": "1-2-3"}
    bare = parse_notification(document("Delivery", mail=mail | {"headers": []}))
    assert bare is not None
    assert bare.tags == {}


def test_notices_are_no_events() -> None:
    """What SES writes to a topic when it is connected is about no message."""
    notice = {"notificationType": "AmazonSnsSubscriptionSucceeded", "message": "You have successfully subscribed"}
    assert parse_notification(notice) is None


def test_a_message_without_destinations_is_one_event() -> None:
    """An open of a message that names nobody is an event all the same."""
    found = parse_notification(document("Open", mail=MAIL | {"destination": []}))
    assert found is not None
    assert [one.address for one in found.events] == [None]


def without(name: str, *path: str) -> dict[str, Any]:
    """An example that lacks a field."""
    found = document(name)
    part = found
    for step in path[:-1]:
        part = part[step]
    del part[path[-1]]
    return found


MALFORMED: list[tuple[Any, str]] = [
    (None, "Message"),
    ([], "Message"),
    ({}, "eventType"),
    ({"eventType": "Teapot", "mail": MAIL}, "eventType"),
    ({"eventType": ["Bounce"], "mail": MAIL}, "eventType"),
    ({"eventType": "Send"}, "mail"),
    (without("Send", "mail", "messageId"), "mail.messageId"),
    (without("Bounce", "bounce"), "bounce"),
    (without("Bounce", "bounce", "bouncedRecipients"), "bounce.bouncedRecipients"),
    (document("Bounce", bounce=BOUNCE | {"bouncedRecipients": []}), "bounce.bouncedRecipients"),
    (document("Bounce", bounce=BOUNCE | {"timestamp": "canary"}), "bounce.timestamp"),
    (document("Bounce", bounce=BOUNCE | {"timestamp": "1970-01-01T00:00:00Z"}), "bounce.timestamp"),
    (document("Bounce", bounce=BOUNCE | {"timestamp": 7}), "bounce.timestamp"),
    (document("Reject", mail=MAIL | {"timestamp": "canary"}), "mail.timestamp"),
    (document("Open", mail=MAIL | {"destination": "canary@example.com"}), "mail.destination"),
    (document("Open", mail=MAIL | {"destination": ["a"] * (MAX_DESTINATIONS + 1)}), "mail.destination"),
    (without("Click", "click"), "click"),
    (without("Subscription", "subscription", "newTopicPreferences"), "subscription.newTopicPreferences"),
]


@pytest.mark.parametrize(("found", "field"), MALFORMED)
def test_malformed(found: Any, field: str) -> None:
    """What is malformed is named by its field, and nothing of it is repeated."""
    with pytest.raises(SesEventError) as caught:
        parse_notification(found)
    assert caught.value.fields == (field,)


@pytest.mark.parametrize(("text", "at_ms"), [("2016-10-19T23:20:52.240+02:00", AT_MS - 7_200_000), (AT[:-1], AT_MS)])
def test_times(text: str, at_ms: int) -> None:
    """A time has a zone, or is UTC."""
    found = parse_notification(document("Delivery", delivery=DELIVERY | {"timestamp": text}))
    assert found is not None
    assert found.events[0].occurred_at_ms == at_ms


@given(st.recursive(st.none() | st.integers() | st.text(max_size=9), lambda part: st.lists(part, max_size=3)))
def test_no_part_raises_anything_else(part: Any) -> None:
    """Whatever stands where a part should be, the only error is the one that names fields."""
    for name in EXAMPLES:
        for changed in [*EXAMPLES[name][0], "mail"]:
            try:
                parse_notification(document(name, **{changed: part}))
            except SesEventError as error:
                assert error.fields != ()  # noqa: PT017  - what is raised is the point, and nothing has to be


def test_a_repr_shows_no_reader() -> None:
    """An event in a log line or a traceback shows neither address nor network nor link."""
    found = parse_notification(document("Click"))
    assert found is not None
    text = repr(found) + repr(dataclasses.replace(found.events[0], kind=Kind.OPENED))
    assert "canary" not in text
    assert "192.0.2.1" not in text
