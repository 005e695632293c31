"""Owns the choice of a reader's items: the best that differ enough, never below a minimum, never seen before."""

import dataclasses

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

from publishing.domain.publications import Selection
from publishing.domain.scoring import DECIMALS, Floats

MIN_SHORTLIST = 50
"""Items by score among which a reader's are chosen: 4 x count, and no fewer than this."""

Rows = npt.NDArray[np.int64]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Item places by reader, best first, -1 where there are fewer; what stood in the way where there are none."""

    items: Rows
    is_without_content: npt.NDArray[np.bool_]
    is_all_seen: npt.NDArray[np.bool_]


def similarities(topics: sp.csr_matrix, squared_norms: Floats, rows: slice) -> Floats:
    """The cosine of some items with every item, (row x item) in [0, 1]; 0 where either has no topics."""
    wide = topics.astype(np.float64)
    products = np.asarray((wide[rows] @ wide.T).toarray())
    lengths = np.sqrt(np.outer(squared_norms[rows], squared_norms))
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(np.clip(cosines, 0.0, 1.0), np.float64)


def choose(scores: Floats, seen: npt.NDArray[np.bool_], similarity: Floats, rule: Selection) -> Chosen:
    """Choose up to rule.count items for each row of scores (reader x item, items by ascending number).

    Round by round the unseen item with the largest score x (1 - diversity x similarity to the nearest chosen one),
    ties by number (after Carbonell and Goldstein, The use of MMR, SIGIR 1998).
    Worked: scores .9 .8 .7, diversity .8, the first two alike (similarity 1) -> .9 first, then .7 (.8 x .2 = .16).
    """
    reaches = scores >= rule.minimum_score
    usable = reaches & ~seen
    shortlist = _shortlist(np.where(usable, scores, -1.0), max(4 * rule.count, MIN_SHORTLIST))
    rows = np.arange(len(scores))[:, np.newaxis]
    relevance = np.where(usable[rows, shortlist], scores[rows, shortlist], -1.0)
    places = _best_and_different(relevance, shortlist, similarity, rule)
    has_content = np.asarray(reaches.any(axis=1))
    return Chosen(
        items=places,
        is_without_content=np.logical_not(has_content),
        is_all_seen=np.logical_and(has_content, np.logical_not(np.asarray(usable.any(axis=1)))),
    )


def _best_and_different(relevance: Floats, shortlist: Rows, similarity: Floats, rule: Selection) -> Rows:
    readers, width = relevance.shape
    chosen = np.full((readers, rule.count), -1, np.int64)
    row = np.arange(readers)
    nearest = np.zeros_like(relevance)
    left = relevance.copy()
    for turn in range(min(rule.count, width)):
        gain = np.where(left >= 0, left * (1.0 - rule.diversity * nearest), -1.0)
        best = gain.argmax(axis=1)
        found = gain[row, best] >= 0
        if not found.any():
            break
        item = shortlist[row, best]
        chosen[found, turn] = item[found]
        left[row, best] = -1.0
        nearest = np.maximum(nearest, similarity[item[:, np.newaxis], shortlist])
    return chosen


def _shortlist(values: Floats, size: int) -> Rows:
    """Places of the largest values of each row, ties by place, in ascending order of place."""
    width = values.shape[1]
    if width <= size:
        return np.broadcast_to(np.arange(width), values.shape)
    steps = np.rint(values * 10**DECIMALS).astype(np.int64)
    keys = steps * width + np.arange(width)[::-1]  # no two are equal
    best = np.argpartition(keys, width - size, axis=1)[:, width - size :]
    best.sort(axis=1)
    return best
