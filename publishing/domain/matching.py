"""Owns the audience of a shard as columns, and which of its readers and items a publication's filters let through."""

import dataclasses
import datetime as dt
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from publishing.domain.interests import RING_SIZE, Vocabulary, exact, stack, weight_matrix, widen
from publishing.domain.publications import AudienceFilter, ContentFilter
from schemas.messages import ContentItem

Bools = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.int64]

KIND_BITS: Mapping[str, int] = {"email": 1, "slack": 2, "discord": 4, "webhook": 8, "feed": 16}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A subscriber as a shard keeps it: channels are the kinds switched on, recent is the ring of known articles."""

    destination: int
    active: bool
    channels: frozenset[str] = frozenset()
    topics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    attributes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    learned: Mapping[str, float] = dataclasses.field(default_factory=dict)
    recent: tuple[int, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ReaderState:
    """What a shard itself learned of a reader."""

    learned: Mapping[str, float]
    recent: tuple[int, ...]


@dataclasses.dataclass(slots=True)
class Vocabularies:
    """Column numbers of a shard's topics and attribute values."""

    topics: Vocabulary = dataclasses.field(default_factory=Vocabulary)
    attributes: Vocabulary = dataclasses.field(default_factory=Vocabulary)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class AudienceColumns:
    """Readers of a shard by ascending destination number; never changed, so planning may take its time over it."""

    destinations: Numbers
    active: Bools
    kinds: npt.NDArray[np.uint8]
    declared: sp.csr_matrix
    learned: sp.csr_matrix
    attributes: sp.csr_matrix
    recent: sp.csr_matrix

    def __len__(self) -> int:
        return len(self.destinations)

    def row_of(self, destination: int) -> int | None:
        """The row of a destination, or None when it is no reader of this shard."""
        row = int(np.searchsorted(self.destinations, destination))
        return row if row < len(self) and self.destinations[row] == destination else None

    def ring(self, row: int) -> tuple[int, ...]:
        """The ring of a row, the newest last."""
        return tuple(self.recent.data[self.recent.indptr[row] : self.recent.indptr[row + 1]].tolist())

    def learned_of(self, row: int, vocabulary: Vocabulary) -> dict[str, float]:
        """The learned weights of a row by topic."""
        names = vocabulary.names()
        span = slice(self.learned.indptr[row], self.learned.indptr[row + 1])
        columns, weights = self.learned.indices[span].tolist(), self.learned.data[span].tolist()
        return {names[column]: weight for column, weight in zip(columns, weights, strict=True)}

    def interests(self, rows: Numbers, width: int) -> sp.csr_matrix:
        """Declared and learned weights of rows added up, over `width` topics."""
        return sp.csr_matrix(widen(self.declared, width)[rows] + widen(self.learned, width)[rows])


def attribute_name(key: str, value: Any) -> str:
    """The name of an attribute's value in its vocabulary; equal JSON values have equal names."""
    return json.dumps([key, value], sort_keys=True)


def columns_of(readers: Iterable[Reader], vocabularies: Vocabularies) -> AudienceColumns:
    """Lay readers out as columns; a destination given twice is kept as given last."""
    ordered = sorted({reader.destination: reader for reader in readers}.values(), key=lambda reader: reader.destination)
    return AudienceColumns(
        destinations=np.array([reader.destination for reader in ordered], np.int64),
        active=np.array([reader.active for reader in ordered], np.bool_),
        kinds=np.array([sum(KIND_BITS.get(kind, 0) for kind in reader.channels) for reader in ordered], np.uint8),
        declared=weight_matrix([reader.topics for reader in ordered], vocabularies.topics),
        learned=weight_matrix([reader.learned for reader in ordered], vocabularies.topics),
        attributes=weight_matrix(
            [{attribute_name(*pair): 1.0 for pair in reader.attributes.items()} for reader in ordered],
            vocabularies.attributes,
        ),
        recent=_rings([reader.recent for reader in ordered]),
    )


def merged(
    columns: AudienceColumns, changed: Iterable[Reader], removed: Iterable[int], vocabularies: Vocabularies
) -> AudienceColumns:
    """The columns with rows added or replaced, and others taken out (a removal wins)."""
    fresh = columns_of(changed, vocabularies)
    every = np.concatenate([fresh.destinations, columns.destinations])
    destinations, source = np.unique(every, return_index=True)  # the first of equals: the fresh one
    kept = ~np.isin(destinations, np.fromiter(removed, np.int64))
    source = source[kept]

    def rows(new: sp.csr_matrix, old: sp.csr_matrix) -> sp.csr_matrix:
        return sp.csr_matrix(stack([new, old], max(new.shape[1], old.shape[1]))[source])

    return AudienceColumns(
        destinations=destinations[kept],
        active=np.concatenate([fresh.active, columns.active])[source],
        kinds=np.concatenate([fresh.kinds, columns.kinds])[source],
        declared=rows(fresh.declared, columns.declared),
        learned=rows(fresh.learned, columns.learned),
        attributes=rows(fresh.attributes, columns.attributes),
        recent=rows(fresh.recent, columns.recent),
    )


def with_states(
    columns: AudienceColumns, states: Mapping[int, ReaderState], vocabularies: Vocabularies
) -> AudienceColumns:
    """The columns with other learned weights and rings; states of destinations that are no readers are ignored."""
    known = {row: state for number, state in states.items() if (row := columns.row_of(number)) is not None}
    learned = weight_matrix([state.learned for state in known.values()], vocabularies.topics)
    columns = dataclasses.replace(columns, learned=_rows_replaced(columns.learned, known, learned))
    return with_rings(columns, {number: state.recent for number, state in states.items()})


def with_rings(columns: AudienceColumns, rings: Mapping[int, tuple[int, ...]]) -> AudienceColumns:
    """The columns with other rings; rings of destinations that are no readers are ignored."""
    known = {row: ring for number, ring in rings.items() if (row := columns.row_of(number)) is not None}
    return dataclasses.replace(columns, recent=_rows_replaced(columns.recent, known, _rings(list(known.values()))))


def audience_mask(columns: AudienceColumns, wanted: AudienceFilter, vocabularies: Vocabularies) -> Bools:
    """Which rows pass: declared topics meet topics_any (if any), and every attribute is equal."""
    mask = np.ones(len(columns), np.bool_)
    if wanted.topics_any:
        mask &= _any_column(columns.declared, [vocabularies.topics.find(name) for name in wanted.topics_any])
    for key, value in wanted.attributes.items():
        mask &= _any_column(columns.attributes, [vocabularies.attributes.find(attribute_name(key, value))])
    return mask


def seen_mask(recent: sp.csr_matrix, item_numbers: Numbers) -> Bools:
    """Which (row, item) pairs are in the row's ring; item_numbers ascend."""
    mask = np.zeros((recent.shape[0], len(item_numbers)), np.bool_)
    if len(item_numbers) == 0:
        return mask
    rows = np.repeat(np.arange(recent.shape[0]), np.diff(recent.indptr))
    places = np.minimum(np.searchsorted(item_numbers, recent.data), len(item_numbers) - 1)
    found = item_numbers[places] == recent.data
    mask[rows[found], places[found]] = True
    return mask


def content_matches(wanted: ContentFilter, item: ContentItem, as_of: dt.datetime) -> bool:
    """Whether an item passes a publication's content filter at a moment: neither retracted, expired nor too old."""
    return (
        not item.retracted
        and (item.expires_at is None or item.expires_at > as_of)
        and as_of - item.published_at <= dt.timedelta(hours=wanted.max_age_hours)
        and (wanted.type is None or item.type.value == wanted.type)
        and (not wanted.sources or item.source in wanted.sources)
        and (not wanted.topics_any or shares_topic(wanted.topics_any, item))
        and all(item.topics.get(name, 0.0) > 0 for name in wanted.topics_all)
    )


def shares_topic(names: Iterable[str], item: ContentItem) -> bool:
    """Whether an item has one of the topics, with a weight above 0."""
    return any(item.topics.get(name, 0.0) > 0 for name in names)


def kept_topics(topics: Mapping[str, Any]) -> dict[str, float]:
    """Topic weights of a row: what is no number counts as absent."""
    return {
        name: kept
        for name, weight in topics.items()
        if isinstance(weight, int | float) and not isinstance(weight, bool) and (kept := exact(weight)) > 0
    }


def _rows_replaced(matrix: sp.csr_matrix, rows: Iterable[int], fresh: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix with the fresh rows in the places of `rows`."""
    if fresh.shape[0] == 0:
        return matrix
    source = np.arange(matrix.shape[0])
    source[np.fromiter(rows, np.int64)] = matrix.shape[0] + np.arange(fresh.shape[0])
    return sp.csr_matrix(stack([matrix, fresh], max(matrix.shape[1], fresh.shape[1]))[source])


def _any_column(matrix: sp.csr_matrix, wanted: Sequence[int | None]) -> Bools:
    columns = [column for column in wanted if column is not None and column < matrix.shape[1]]
    hits = np.isin(matrix.indices, columns)
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    mask = np.zeros(matrix.shape[0], np.bool_)
    mask[rows[hits]] = True
    return mask


def _rings(rings: Sequence[tuple[int, ...]]) -> sp.csr_matrix:
    """Rings as a sparse matrix (reader x place) of article numbers: cut, stacked and indexed like any other column."""
    cut = [ring[-RING_SIZE:] for ring in rings]
    lengths = np.array([len(ring) for ring in cut], np.int64)
    indptr = np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])
    numbers = np.fromiter(itertools.chain.from_iterable(cut), np.int64, int(indptr[-1]))
    places = (np.arange(len(numbers)) - np.repeat(indptr[:-1], lengths)).astype(np.int32)
    return sp.csr_matrix((numbers, places, indptr), shape=(len(cut), RING_SIZE))
