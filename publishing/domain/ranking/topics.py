"""Owns the topical term: how close an item's topics are to what a reader declared and what was learned."""

import numpy as np

from publishing.domain.interests import squared_norms, widen
from publishing.domain.scoring import Floats, Ranked

name = "topics"
version = 1
weight = 0.6


def score(ranked: Ranked) -> Floats:
    """The cosine of the two weight vectors; 0 where either is empty.

    Worked: interests {go: 1}, item {go: 1, rust: 1} -> 1 / sqrt(1 * 2) = 0.7071.
    """
    width = max(ranked.interests.shape[1], ranked.items.topics.shape[1])
    interests, topics = widen(ranked.interests, width), widen(ranked.items.topics, width)
    products = np.asarray(interests.astype(np.float64) @ topics.astype(np.float64).T.toarray())
    lengths = np.sqrt(np.outer(squared_norms(interests), ranked.items.squared_norms))
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return np.asarray(np.clip(cosines, 0.0, 1.0), np.float64)
