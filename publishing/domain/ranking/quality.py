"""Owns the quality term: what review thought of an item."""

import numpy as np

from publishing.domain.scoring import Floats, Ranked

name = "quality"
version = 1
weight = 0.2


def score(ranked: Ranked) -> Floats:
    """The item's quality score as review stored it, cut to [0, 1]; 0 for one that is no number."""
    return np.clip(np.nan_to_num(ranked.items.quality, nan=0.0), 0.0, 1.0)[np.newaxis, :]
