"""Owns how ranking terms are blended into one score for each pair of a reader and an item, as whole matrices."""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from publishing.domain.interests import Vocabulary, squared_norms, weight_matrix
from schemas.messages import ContentItem

Floats = npt.NDArray[np.float64]

DECIMALS = 6
"""Scores are rounded, so that a difference in the last bit decides no tie."""

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def to_ms(at: dt.datetime) -> int:
    """Milliseconds since 1970 of an aware time."""
    return (at - EPOCH) // dt.timedelta(milliseconds=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ItemColumns:
    """Content items as columns, in the order of their numbers; topics is item x topic over a shard's vocabulary."""

    numbers: npt.NDArray[np.int64]
    topics: sp.csr_matrix
    squared_norms: Floats
    quality: Floats
    published_ms: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.numbers)


def item_columns(items: Sequence[ContentItem], vocabulary: Vocabulary) -> ItemColumns:
    """Lay items out as columns by ascending number, whatever their order; the vocabulary grows by new topics."""
    ordered = sorted(items, key=lambda item: item.content_id)
    topics = weight_matrix([item.topics for item in ordered], vocabulary)
    return ItemColumns(
        numbers=np.array([item.content_id for item in ordered], np.int64),
        topics=topics,
        squared_norms=squared_norms(topics),
        quality=np.array([item.quality for item in ordered], np.float64),
        published_ms=np.array([to_ms(item.published_at) for item in ordered], np.int64),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """What terms read: interests (reader x topic, declared + learned, weights in [0, 2]), the items and the moment."""

    interests: sp.csr_matrix
    items: ItemColumns
    as_of_ms: int


class Term(Protocol):
    """A ranking term, a module of publishing.domain.ranking: pure, deterministic, within [0, 1].

    `score` returns (reader x item), or (1 x item) when it is the same for all readers.
    """

    name: str
    version: int
    weight: float

    def score(self, ranked: Ranked, /) -> Floats:
        """Score every pair at once."""
        ...


def blend(ranked: Ranked, terms: Sequence[Term]) -> Floats:
    """The weighted mean of the terms, (reader x item) in [0, 1], rounded to 6 decimals.

    Worked: cosine 1 (weight .6), recency .5 (.2), quality 1 (.2) -> .9.
    """
    total = np.zeros((ranked.interests.shape[0], len(ranked.items)), np.float64)
    weights = sum(term.weight for term in terms)
    for term in terms:
        total += term.score(ranked) * (term.weight / weights)
    return np.asarray(np.round(np.clip(total, 0.0, 1.0), DECIMALS), np.float64)
