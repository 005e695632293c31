"""Owns what is shown: the shapes of answers, made from rows, without a secret and without a key."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from starlette.responses import Response

from ingest_api.problems import FieldError
from publishing.domain.rates import Rate

View = TypeVar("View")


class Profile(msgspec.Struct, frozen=True):
    """What is declared and what was learned of a reader; weights are in [0, 1]."""

    topics: dict[str, float]
    learned: dict[str, float]
    events: int


class SubscriberView(msgspec.Struct, frozen=True, kw_only=True):
    """A subscriber; id is the destination number."""

    id: int
    shard: int
    status: str
    email: str | None
    external_id: str | None
    time_zone: str
    locale: str
    topics: dict[str, float]
    cadence: str
    channels: dict[str, bool]
    caps: dict[str, dict[str, int]]
    attributes: dict[str, Any]
    version: int
    profile: Profile


class Validation(msgspec.Struct, frozen=True):
    """What is known of a channel's configuration: ok, failed or untested."""

    status: str
    detail: str


class ChannelView(msgspec.Struct, frozen=True, kw_only=True):
    """A channel without its configuration."""

    id: int
    kind: str
    name: str
    status: str
    topics: list[str]
    limits: dict[str, float]
    validation: Validation


class ChannelResult(msgspec.Struct, frozen=True):
    """How many deliveries of a channel are in which state."""

    channel_id: int
    states: dict[str, int]


class PublicationView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=False):
    """A publication with what became of it; runs are the latest 100, the newest first."""

    id: int
    name: str
    status: str
    version: int
    trigger: dict[str, Any]
    content: dict[str, Any]
    audience: dict[str, Any]
    channels: list[int]
    selection: dict[str, Any]
    template_id: int
    priority: str
    deadline_minutes: int | None
    estimated_delivery_at: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime
    runs: list[int] | msgspec.UnsetType = msgspec.UNSET
    channel_results: list[ChannelResult] | msgspec.UnsetType = msgspec.UNSET
    engagement: dict[str, int] | msgspec.UnsetType = msgspec.UNSET


class RunView(msgspec.Struct, frozen=True, kw_only=True):
    """One execution of a publication."""

    id: int
    publication_id: int
    publication_version: int
    status: str
    due_at: dt.datetime | None
    content_batch_id: int | None
    deadline_at: dt.datetime | None
    shards: int
    shards_planned: int
    candidates: int
    planned: int
    created_at: dt.datetime
    finished_at: dt.datetime | None
    channel_results: list[ChannelResult]


class ConservationView(msgspec.Struct, frozen=True, kw_only=True):
    """The conservation law of a run: candidates = excluded + planned; planned = unclaimed + the sum of by_state."""

    run_id: int
    candidates: int
    excluded: dict[str, int]
    planned: int
    unclaimed: int
    by_state: dict[str, int]
    planned_by_all: bool
    holds: bool


class BulkError(msgspec.Struct, frozen=True):
    """What is wrong with one line; lines are counted from 1."""

    line: int
    errors: tuple[FieldError, ...]


class BulkView(msgspec.Struct, frozen=True, kw_only=True):
    """What became of the lines; ids has one entry a line, null where the line was refused."""

    created: int
    updated: int
    refused: int
    ids: list[int | None]
    errors: list[BulkError]


class ContentResult(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What became of one item; lines are counted from 1."""

    line: int
    status: str
    source: str | None = None
    id: str | None = None
    errors: tuple[FieldError, ...] = ()


class ContentView(msgspec.Struct, frozen=True, kw_only=True):
    """One result an item, in the order in which they were sent."""

    accepted: int
    refused: int
    results: list[ContentResult]


class EngagementCell(msgspec.Struct, frozen=True, kw_only=True):
    """One window of one channel and kind; what else is told apart is there when the split asks for it.

    Late counts those of total that came after the window was closed, revision the changes since; closed says whether
    every partition of the log has passed the window.
    """

    window_start: dt.datetime
    channel_id: int
    kind: str
    total: int
    uniques: int
    late: int
    revision: int
    closed: bool
    publication_id: int | msgspec.UnsetType = msgspec.UNSET
    run_id: int | msgspec.UnsetType = msgspec.UNSET
    arm: int | msgspec.UnsetType = msgspec.UNSET
    verdict: str | msgspec.UnsetType = msgspec.UNSET


class Trend(msgspec.Struct, frozen=True):
    """A kind's total beside the period of equal length before; change_ratio is null when there was nothing before."""

    total: int
    before: int
    change_ratio: float | None


class RateView(msgspec.Struct, frozen=True):
    """A share of the period with its 95 % interval (Wilson), and the same share in the period before."""

    count: int
    of: int
    ratio: float | None
    low: float | None
    high: float | None
    before: float | None


class RateGroup(msgspec.Struct, frozen=True, kw_only=True):
    """The rates of one publication, run or arm, as the split asks."""

    rates: dict[str, RateView]
    publication_id: int | msgspec.UnsetType = msgspec.UNSET
    run_id: int | msgspec.UnsetType = msgspec.UNSET
    arm: int | msgspec.UnsetType = msgspec.UNSET


class Freshness(msgspec.Struct, frozen=True):
    """How far engagement is counted; both are null while a partition of the log has said nothing yet."""

    watermark: dt.datetime | None
    age_s: float | None


class EngagementView(msgspec.Struct, frozen=True, kw_only=True):
    """Windows of engagement; those that end at or before the watermark are closed.

    Truncated says that there are more cells than one answer holds: ask for a coarser grain, or export.
    """

    watermark: dt.datetime | None
    freshness: Freshness
    series: list[EngagementCell]
    truncated: bool
    trends: dict[str, Trend]
    rates: dict[str, RateView]
    groups: list[RateGroup]


class Latency(msgspec.Struct, frozen=True):
    """Milliseconds that half, 95 % and 99 % of the measured stayed within; null where nothing was measured."""

    measured: int
    p50: float | None
    p95: float | None
    p99: float | None


class Failure(msgspec.Struct, frozen=True):
    """How many deliveries of a channel ended in a state for a reason."""

    channel_id: int
    state: str
    reason: str | None
    deliveries: int


class Pace(msgspec.Struct, frozen=True):
    """How much providers accepted by minute or hour: windows with any, their mean and the busiest of them."""

    windows: int
    mean: float | None
    busiest: int
    busiest_at: dt.datetime | None


class ChannelPerformance(msgspec.Struct, frozen=True, kw_only=True):
    """How one channel does; success is what the provider took and did not bounce, of all that are settled."""

    channel_id: int
    kind: str
    success: Rate
    by_state: dict[str, int]
    latency_ms: Latency
    first_open_ms: Latency


class RecommendationView(msgspec.Struct, frozen=True):
    """Something to do, and the numbers that it rests on."""

    kind: str
    evidence: dict[str, Any]
    action: str


class PerformanceView(msgspec.Struct, frozen=True, kw_only=True):
    """How sending went for the runs that were made in the period.

    Latencies are of every reader, or of one in sample_of where there are very many: from content (the newest of what
    caused the run, or the time it was due) to the provider's acceptance, and from there to the first human open.
    """

    freshness: Freshness
    success_rate: float | None
    success: Rate
    by_state: dict[str, int]
    sample_of: int
    latency_ms: Latency
    first_open_ms: Latency
    throughput: dict[str, Pace]
    failures: list[Failure]
    channels: list[ChannelPerformance]
    recommendations: list[RecommendationView]


class Page(msgspec.Struct, Generic[View], frozen=True):
    """A part of a list; next is the cursor of the part that follows, null at the end."""

    items: list[View]
    next: str | None


def answer(view: msgspec.Struct, status: int = 200) -> Response:
    """Encode a view as an answer that no cache keeps."""
    return Response(msgspec.json.encode(view), status, {"Cache-Control": "no-store"}, "application/json")


def subscriber_view(row: Mapping[str, Any]) -> SubscriberView:
    """Show a subscriber's row."""
    profile = Profile(row["topics"], row["learned"], row["events"])
    return msgspec.convert({**row, "profile": profile}, SubscriberView)


def channel_view(row: Mapping[str, Any]) -> ChannelView:
    """Show a channel's row."""
    return msgspec.convert({**row, "topics": sorted(row["topics"])}, ChannelView)


def publication_view(row: Mapping[str, Any]) -> PublicationView:
    """Show a publication's row, with its results when the row holds them."""
    definition = {name: value for name, value in row["definition"].items() if name != "after_content"}
    due_at = row["next_due_at"] or row.get("last_due_at")
    return msgspec.convert({**definition, **row, "estimated_delivery_at": due_at}, PublicationView)
