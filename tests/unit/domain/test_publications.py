"""Publications: a total table of states, and a definition that comes back as it was stored."""

import datetime as dt
import json

import pytest

from publishing.domain.publications import (
    TABLE,
    TERMINAL,
    Action,
    AudienceFilter,
    ContentFilter,
    ForbiddenActionError,
    Publication,
    Selection,
    Status,
    TriggerKind,
    first_status,
    transition,
)

pytestmark = pytest.mark.unit

S, A = Status, Action
ALLOWED = {
    (S.DRAFT, A.SUBMIT): S.IN_REVIEW,
    (S.DRAFT, A.SCHEDULE): S.SCHEDULED,
    (S.DRAFT, A.START): S.RUNNING,
    (S.DRAFT, A.CANCEL): S.CANCELLED,
    (S.IN_REVIEW, A.SEND_BACK): S.DRAFT,
    (S.IN_REVIEW, A.APPROVE): S.APPROVED,
    (S.IN_REVIEW, A.CANCEL): S.CANCELLED,
    (S.APPROVED, A.SEND_BACK): S.DRAFT,
    (S.APPROVED, A.SCHEDULE): S.SCHEDULED,
    (S.APPROVED, A.START): S.RUNNING,
    (S.APPROVED, A.CANCEL): S.CANCELLED,
    (S.SCHEDULED, A.START): S.RUNNING,
    (S.SCHEDULED, A.PAUSE): S.PAUSED,
    (S.SCHEDULED, A.CANCEL): S.CANCELLED,
    (S.RUNNING, A.PAUSE): S.PAUSED,
    (S.RUNNING, A.FINISH): S.DONE,
    (S.RUNNING, A.CANCEL): S.CANCELLED,
    (S.PAUSED, A.RESUME): S.RUNNING,
    (S.PAUSED, A.RESCHEDULE): S.SCHEDULED,
    (S.PAUSED, A.CANCEL): S.CANCELLED,
}


@pytest.mark.parametrize("status", list(Status))
@pytest.mark.parametrize("action", list(Action))
def test_every_pair_has_an_answer(status: Status, action: Action) -> None:
    """Every (status, action) either leads where the list says or is forbidden."""
    assert (status, action) in TABLE
    if (status, action) in ALLOWED:
        assert transition(status, action) is ALLOWED[status, action]
    else:
        with pytest.raises(ForbiddenActionError) as caught:
            transition(status, action)
        assert (caught.value.status, caught.value.action) == (status, action)


def test_the_end_is_the_end() -> None:
    """Nothing leads out of a terminal status, and every other can still be cancelled."""
    assert {status for status in Status if all(TABLE[status, action] is None for action in Action)} == TERMINAL
    assert {status for status in Status if TABLE[status, Action.CANCEL]} == set(Status) - TERMINAL


def test_first_status() -> None:
    """What waits for its time is scheduled; what waits for nothing, or for content, runs."""
    assert first_status(TriggerKind.AT) is Status.SCHEDULED
    assert first_status(TriggerKind.NOW) is Status.RUNNING
    assert first_status(TriggerKind.ON_CONTENT) is Status.RUNNING


STORED = {
    "trigger": {"kind": "at", "at": "2026-01-05T09:00:00+01:00", "rrule": None, "local_time": "08:00"},
    "content": {
        "topics_any": ["databases"],
        "topics_all": ["go"],
        "type": "article",
        "max_age_hours": 24,
        "sources": ["a"],
    },
    "audience": {"topics_any": ["go"], "attributes": {"plan": "pro"}},
    "channels": [1, 3],
    "selection": {"count": 3, "minimum_score": 0.0, "diversity": 0.0},
    "template_id": 4,
    "priority": "alert",
    "deadline_minutes": 720,
    "after_content": 9,
}


@pytest.mark.parametrize("is_text", [False, True])
def test_a_row_is_read(is_text: bool) -> None:  # noqa: FBT001  - a parameter of the test
    """Every field of a stored definition is read, zeros included, from an object or from its text."""
    definition = json.dumps(STORED) if is_text else STORED
    found = Publication.from_row({"id": 7, "version": 2, "status": "scheduled", "name": "W", "definition": definition})
    assert found.trigger.at == dt.datetime(2026, 1, 5, 8, tzinfo=dt.UTC)
    assert found.trigger.kind is TriggerKind.AT
    assert found.content == ContentFilter(
        topics_any=("databases",), topics_all=("go",), type="article", max_age_hours=24, sources=("a",)
    )
    assert found.audience == AudienceFilter(topics_any=("go",), attributes={"plan": "pro"})
    assert found.selection == Selection(count=3, minimum_score=0.0, diversity=0.0)
    assert (found.channels, found.template_id, found.priority) == ((1, 3), 4, "alert")
    assert (found.deadline_minutes, found.after_content, found.name) == (720, 9, "W")


def test_defaults_stand_for_what_is_missing() -> None:
    """A definition of a trigger alone takes everything, for everyone, without an end."""
    row = {"id": 1, "version": 1, "status": "running", "definition": {"trigger": {"kind": "now"}}}
    found = Publication.from_row(row)
    assert (found.content, found.audience, found.selection) == (ContentFilter(), AudienceFilter(), Selection())
    assert (found.channels, found.priority, found.deadline_minutes, found.name) == ((), "bulk", None, "")
