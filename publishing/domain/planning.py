"""Owns a plan: which destinations of a shard a run reaches with which items, who is left out and why."""

import dataclasses
import datetime as dt
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Protocol

import numpy as np

from publishing.domain.interests import Vocabulary, weight_matrix
from publishing.domain.matching import (
    KIND_BITS,
    AudienceColumns,
    Numbers,
    Vocabularies,
    audience_mask,
    content_matches,
    seen_mask,
    shares_topic,
)
from publishing.domain.publications import Publication, Selection, TriggerKind
from publishing.domain.scoring import Floats, ItemColumns, Ranked, Term, blend, item_columns, to_ms
from publishing.domain.selection import choose, similarities
from schemas.messages import ContentItem, DeliveryRequested, Lane

MAX_CHUNK_DESTINATIONS = 500
MAX_CHUNK_ITEMS = 20_000
"""Items of a frame over all destinations: 14 bytes each keep it far below a record's megabyte."""

MAX_ITEMS = 1_000
"""Items a run chooses from: the newest of those that pass its filter."""

ON_CONTENT_COUNT = 50
"""A publication that is made by content passes on a whole batch, up to this many items a reader."""

SLICE_CELLS = 65_536
"""(reader, item) pairs of one slice: a few milliseconds of work."""

FILTERED_AT_ONCE = 5_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A channel as planning sees it; destination and shard are those of a room, None for e-mail."""

    id: int
    kind: str
    is_active: bool
    destination: int | None = None
    shard: int | None = None
    topics: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One shard's part of a run: what to plan, at which moment (its due time), through which channels."""

    run_id: int
    shard: int
    publication: Publication
    as_of: dt.datetime
    channels: Sequence[Channel]
    deadline_at: dt.datetime | None = None
    template_version: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """candidates = sum of excluded + planned; sent says which items each destination gets, best first."""

    candidates: int
    excluded: Mapping[str, int]
    frames: tuple[DeliveryRequested, ...]
    sent: Mapping[int, tuple[int, ...]]

    @property
    def planned(self) -> int:
        """How many deliveries the frames hold."""
        return sum(len(frame.destinations) for frame in self.frames)


class Snapshot(Protocol):
    """The state of a shard at one moment; rooms are rings of articles by destination."""

    @property
    def columns(self) -> AudienceColumns:
        """The readers."""
        ...

    @property
    def vocabularies(self) -> Vocabularies:
        """The columns' topics and attributes."""
        ...

    @property
    def rooms(self) -> Mapping[int, tuple[int, ...]]:
        """What rooms have had."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Share:
    """What one destination gets: item numbers and their scores, best first."""

    destination: int
    items: tuple[int, ...]
    scores: tuple[float, ...]


Steps = Generator[None, None, list[Share]]


def plan(
    order: Order, snapshot: Snapshot, items: Sequence[ContentItem], terms: Sequence[Term]
) -> Generator[None, None, Plan]:
    """Plan step by step: the generator pauses after each few milliseconds of work and returns the plan.

    The same order, snapshot and set of items give the same plan, however often it pauses.
    """
    passing = yield from _passing(order, items)
    excluded: Counter[str] = Counter()
    candidates = 0
    shares: dict[int, list[Share]] = {}
    readers: dict[str, tuple[Counter[str], list[Share]]] = {}
    for channel in sorted(order.channels, key=lambda channel: channel.id):
        if channel.destination is not None:
            if channel.shard == order.shard:
                candidates += 1
                shares[channel.id] = _room_shares(order, channel, snapshot, passing, terms, excluded)
            continue
        candidates += len(snapshot.columns)
        if not channel.is_active:
            excluded["inactive"] += len(snapshot.columns)
            continue
        if channel.kind not in readers:
            left_out: Counter[str] = Counter()
            found = yield from _reader_shares(order, channel.kind, snapshot, passing, terms, left_out)
            readers[channel.kind] = (left_out, found)
        excluded.update(readers[channel.kind][0])
        shares[channel.id] = readers[channel.kind][1]
    frames: list[DeliveryRequested] = []
    for frame in _frames(order, shares):
        frames.append(frame)
        yield
    sent = {share.destination: share.items for found in shares.values() for share in found}
    return Plan(candidates=candidates, excluded=_sorted(excluded), frames=tuple(frames), sent=sent)


def rule_of(publication: Publication) -> Selection:
    """How a reader's items are chosen: as the publication says, but a batch of content is passed on whole."""
    rule = publication.selection
    if publication.trigger.kind is TriggerKind.ON_CONTENT:
        return dataclasses.replace(rule, count=max(rule.count, ON_CONTENT_COUNT))
    return rule


def deadline_of(publication: Publication, as_of: dt.datetime) -> dt.datetime | None:
    """When a run's deliveries are of no more use: deadline_minutes after its due time, if any are set."""
    minutes = publication.deadline_minutes
    return None if minutes is None else as_of + dt.timedelta(minutes=minutes)


def _passing(order: Order, items: Sequence[ContentItem]) -> Generator[None, None, list[ContentItem]]:
    passing: list[ContentItem] = []
    for start in range(0, len(items), FILTERED_AT_ONCE):
        part = items[start : start + FILTERED_AT_ONCE]
        passing += [item for item in part if content_matches(order.publication.content, item, order.as_of)]
        yield
    passing.sort(key=lambda item: (-to_ms(item.published_at), item.content_id))
    return passing[:MAX_ITEMS]


def _room_shares(
    order: Order,
    channel: Channel,
    snapshot: Snapshot,
    passing: Sequence[ContentItem],
    terms: Sequence[Term],
    excluded: Counter[str],
) -> list[Share]:
    """The room's one delivery: every item it has not had, best first; only a batch of content is passed on whole."""
    destination = channel.destination
    matching = [item for item in passing if not channel.topics or shares_topic(channel.topics, item)]
    if destination is None or not channel.is_active or not matching:
        excluded["no_content" if channel.is_active else "inactive"] += 1
        return []
    ring = set(snapshot.rooms.get(destination, ()))
    fresh = [item for item in matching if item.content_id not in ring]
    if not fresh:
        excluded["seen"] += 1
        return []
    vocabulary = Vocabulary()
    columns = item_columns(fresh, vocabulary)
    interests = weight_matrix([channel.topics], vocabulary)
    scores = blend(Ranked(interests=interests, items=columns, as_of_ms=to_ms(order.as_of)), terms)[0]
    best = np.argsort(-scores, kind="stable")
    if order.publication.trigger.kind is not TriggerKind.ON_CONTENT:
        best = best[: order.publication.selection.count]
    return [Share(destination, tuple(columns.numbers[best].tolist()), tuple(scores[best].tolist()))]


def _reader_shares(
    order: Order,
    kind: str,
    snapshot: Snapshot,
    passing: Sequence[ContentItem],
    terms: Sequence[Term],
    excluded: Counter[str],
) -> Steps:
    """What each reader gets who can be reached by a kind of channel, by ascending destination."""
    columns = snapshot.columns
    rows = _eligible(order, kind, snapshot, excluded)
    if not passing or not len(rows):
        excluded["no_content"] += len(rows)
        return []
    items = item_columns(passing, snapshot.vocabularies.topics)
    yield
    similarity = np.empty((len(items), len(items)), np.float64)
    size = max(SLICE_CELLS // len(items), 1)
    for start in range(0, len(items), size):
        block = slice(start, start + size)
        similarity[block] = similarities(items.topics, items.squared_norms, block)
        yield
    shares: list[Share] = []
    for start in range(0, len(rows), size):
        part = rows[start : start + size]
        interests = columns.interests(part, len(snapshot.vocabularies.topics))
        scores = blend(Ranked(interests=interests, items=items, as_of_ms=to_ms(order.as_of)), terms)
        seen = seen_mask(columns.recent[part], items.numbers)
        chosen = choose(scores, seen, similarity, rule_of(order.publication))
        excluded["no_content"] += int(chosen.is_without_content.sum())
        excluded["seen"] += int(chosen.is_all_seen.sum())
        shares += _shares(columns.destinations[part], chosen.items, items, scores)
        yield
    return shares


def _eligible(order: Order, kind: str, snapshot: Snapshot, excluded: Counter[str]) -> Numbers:
    columns = snapshot.columns
    left = columns.active.copy()
    excluded["inactive"] += int((~left).sum())
    switched_on = (columns.kinds & KIND_BITS.get(kind, 0)) > 0
    excluded["channel_off"] += int((left & ~switched_on).sum())
    left &= switched_on
    wanted = audience_mask(columns, order.publication.audience, snapshot.vocabularies)
    excluded["audience_filter"] += int((left & ~wanted).sum())
    return np.flatnonzero(left & wanted)


def _shares(destinations: Numbers, places: Numbers, items: ItemColumns, scores: Floats) -> Iterator[Share]:
    counts = (places >= 0).sum(axis=1)
    for row in np.flatnonzero(counts).tolist():
        best = places[row, : counts[row]]
        numbers = tuple(items.numbers[best].tolist())
        yield Share(int(destinations[row]), numbers, tuple(scores[row, best].tolist()))


def _frames(order: Order, shares: Mapping[int, Sequence[Share]]) -> Iterator[DeliveryRequested]:
    parts = ((channel_id, part) for channel_id in sorted(shares) for part in _chunks(shares[channel_id]))
    for chunk, (channel_id, part) in enumerate(parts):
        is_shared = len({(share.items, share.scores) for share in part}) == 1
        columns = part[:1] if is_shared else part
        yield DeliveryRequested(
            run_id=order.run_id,
            publication_id=order.publication.id,
            channel_id=channel_id,
            shard=order.shard,
            chunk=chunk,
            lane=Lane.ALERT if order.publication.priority == "alert" else Lane.BULK,
            template_id=order.publication.template_id,
            template_version=order.template_version,
            deadline_at=order.deadline_at,
            destinations=tuple(share.destination for share in part),
            arms=(0,) * len(part),
            content_ids=tuple(share.items for share in columns),
            scores=tuple(share.scores for share in columns),
        )


def _chunks(shares: Sequence[Share]) -> Iterator[list[Share]]:
    part: list[Share] = []
    size = 0
    for share in shares:
        if part and (len(part) == MAX_CHUNK_DESTINATIONS or size + len(share.items) > MAX_CHUNK_ITEMS):
            yield part
            part, size = [], 0
        part.append(share)
        size += len(share.items)
    if part:
        yield part


def _sorted(excluded: Counter[str]) -> dict[str, int]:
    return {reason: excluded[reason] for reason in sorted(excluded) if excluded[reason]}
