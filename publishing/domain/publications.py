"""Owns what a publication is: its definition, and the total table of the states that it may pass through."""

import dataclasses
import datetime as dt
import enum
import json
from collections.abc import Mapping, Sequence
from typing import Any, Self


class Status(enum.StrEnum):
    """Where a publication is in its life."""

    DRAFT = "draft"
    IN_REVIEW = "in_review"
    APPROVED = "approved"
    SCHEDULED = "scheduled"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    CANCELLED = "cancelled"


class Action(enum.StrEnum):
    """What someone, or the scheduler, asks of a publication."""

    SUBMIT = "submit"
    SEND_BACK = "send_back"
    APPROVE = "approve"
    SCHEDULE = "schedule"
    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    RESCHEDULE = "reschedule"
    FINISH = "finish"
    CANCEL = "cancel"


class TriggerKind(enum.StrEnum):
    """What makes a run of a publication."""

    NOW = "now"
    AT = "at"
    EVERY = "every"
    ON_CONTENT = "on_content"


class ForbiddenActionError(Exception):
    """The action is not possible in the publication's status; read the status again and choose another action."""

    def __init__(self, status: Status, action: Action) -> None:
        """Keep the pair that the table has no answer for."""
        super().__init__(f"{action.value} is not possible when {status.value}")
        self.status = status
        self.action = action


# One row an action, one column a status in the order of Status; None: forbidden.
_COLUMNS = tuple(Status)
_ROWS: dict[Action, tuple[Status | None, ...]] = {
    Action.SUBMIT: (Status.IN_REVIEW, None, None, None, None, None, None, None),
    Action.SEND_BACK: (None, Status.DRAFT, Status.DRAFT, None, None, None, None, None),
    Action.APPROVE: (None, Status.APPROVED, None, None, None, None, None, None),
    Action.SCHEDULE: (Status.SCHEDULED, None, Status.SCHEDULED, None, None, None, None, None),
    Action.START: (Status.RUNNING, None, Status.RUNNING, Status.RUNNING, None, None, None, None),
    Action.PAUSE: (None, None, None, Status.PAUSED, Status.PAUSED, None, None, None),
    Action.RESUME: (None, None, None, None, None, Status.RUNNING, None, None),
    Action.RESCHEDULE: (None, None, None, None, None, Status.SCHEDULED, None, None),
    Action.FINISH: (None, None, None, None, Status.DONE, None, None, None),
    Action.CANCEL: (*([Status.CANCELLED] * 6), None, None),
}
TABLE: dict[tuple[Status, Action], Status | None] = {
    (status, action): row[column] for action, row in _ROWS.items() for column, status in enumerate(_COLUMNS)
}
TERMINAL = frozenset({Status.DONE, Status.CANCELLED})


def transition(status: Status, action: Action) -> Status:
    """Return the status after the action; raises ForbiddenActionError where the table forbids it."""
    after = TABLE[status, action]
    if after is None:
        raise ForbiddenActionError(status, action)
    return after


def first_status(kind: TriggerKind) -> Status:
    """Return the status that a publication created to be carried out at once starts in."""
    return transition(Status.DRAFT, Action.SCHEDULE if kind is TriggerKind.AT else Action.START)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """When a publication runs: at is an aware UTC time, rrule is of RFC 5545, local_time is HH:MM of the reader."""

    kind: TriggerKind
    at: dt.datetime | None = None
    rrule: str | None = None
    local_time: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ContentFilter:
    """Which content a publication takes; an empty tuple or None filters nothing."""

    topics_any: tuple[str, ...] = ()
    topics_all: tuple[str, ...] = ()
    type: str | None = None
    max_age_hours: int = 168
    sources: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudienceFilter:
    """Which subscribers a publication addresses; an empty filter addresses all of them."""

    topics_any: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """How a reader's items are chosen: at most count, none below minimum_score; diversity and scores are in [0, 1]."""

    count: int = 5
    minimum_score: float = 0.05
    diversity: float = 0.8


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """A publication as its row stores it; after_content is the number of the last content batch at its creation."""

    id: int
    version: int
    status: Status
    trigger: Trigger
    content: ContentFilter
    audience: AudienceFilter
    channels: tuple[int, ...]
    selection: Selection
    template_id: int
    priority: str
    deadline_minutes: int | None
    after_content: int
    name: str = ""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Read a row of publishing_publications (id, version, status, definition as object or JSON text)."""
        stored = row["definition"]
        definition: Mapping[str, Any] = json.loads(stored) if isinstance(stored, str | bytes) else stored
        return cls(
            id=row["id"],
            version=row["version"],
            status=Status(row["status"]),
            trigger=_trigger(definition["trigger"]),
            content=_content_filter(definition.get("content") or {}),
            audience=_audience_filter(definition.get("audience") or {}),
            channels=tuple(definition.get("channels") or ()),
            selection=_selection(definition.get("selection") or {}),
            template_id=definition.get("template_id") or 0,
            priority=definition.get("priority") or "bulk",
            deadline_minutes=definition.get("deadline_minutes"),
            after_content=definition.get("after_content") or 0,
            name=row.get("name", ""),
        )


def _trigger(stored: Mapping[str, Any]) -> Trigger:
    at = stored.get("at")
    return Trigger(
        kind=TriggerKind(stored["kind"]),
        at=None if at is None else dt.datetime.fromisoformat(at).astimezone(dt.UTC),
        rrule=stored.get("rrule"),
        local_time=stored.get("local_time"),
    )


def _names(names: Sequence[str] | None) -> tuple[str, ...]:
    return tuple(names or ())


def _content_filter(stored: Mapping[str, Any]) -> ContentFilter:
    return ContentFilter(
        topics_any=_names(stored.get("topics_any")),
        topics_all=_names(stored.get("topics_all")),
        type=stored.get("type"),
        max_age_hours=stored.get("max_age_hours") or 168,
        sources=_names(stored.get("sources")),
    )


def _audience_filter(stored: Mapping[str, Any]) -> AudienceFilter:
    return AudienceFilter(topics_any=_names(stored.get("topics_any")), attributes=dict(stored.get("attributes") or {}))


def _selection(stored: Mapping[str, Any]) -> Selection:
    default = Selection()
    return Selection(
        count=stored.get("count", default.count),
        minimum_score=stored.get("minimum_score", default.minimum_score),
        diversity=stored.get("diversity", default.diversity),
    )
