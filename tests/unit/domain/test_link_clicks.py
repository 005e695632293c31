"""Clicks by link are counted by article, link and group, and by nothing else."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.link_clicks import link_clicks
from schemas.frames import KIND_INDEX, new_events
from schemas.messages import EngagementKind

pytestmark = pytest.mark.unit

CLICKED = KIND_INDEX[EngagementKind.CLICKED]
OPENED = KIND_INDEX[EngagementKind.OPENED]


@given(
    st.lists(
        st.tuples(
            st.sampled_from([CLICKED, OPENED]),
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(0, 2),
            st.integers(0, 1),
        ),
        max_size=60,
    )
)
def test_clicks_are_those_of_a_count_by_hand(rows: list[tuple[int, int, int, int, int]]) -> None:
    """Every click on an article is in exactly one row of its group, unit, article and link; all else is in none."""
    events = new_events(len(rows))
    for name, place in (("kind", 0), ("content_id", 1), ("link", 2)):
        events[name] = [row[place] for row in rows]
    group = np.array([row[3] for row in rows], np.int64)
    unit = np.array([row[4] for row in rows], np.int64)
    found = link_clicks(events, group, unit)
    keys = zip(*(found[name] for name in ("group", "unit", "content_id", "link")), strict=True)
    expected = Counter((row[3], row[4], row[1], row[2]) for row in rows if row[0] == CLICKED and row[1])
    assert dict(zip(keys, found["total"], strict=True)) == expected
