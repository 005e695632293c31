"""Owns the recency term: an item loses half of it every three days."""

import numpy as np

from publishing.domain.scoring import Floats, Ranked

name = "recency"
version = 1
weight = 0.2

HALF_LIFE_MS = 72 * 3_600_000


def score(ranked: Ranked) -> Floats:
    """Two to the power of -(age / 72 h); 1 for an item of the future.

    Worked: 72 h old -> 0.5, 144 h -> 0.25.
    """
    ages_ms = np.maximum(ranked.as_of_ms - ranked.items.published_ms, 0)
    return np.exp2(-ages_ms / HALF_LIFE_MS)[np.newaxis, :]
