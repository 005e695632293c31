"""Clicks by link: what the clicked events of a batch add to each article and link."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from publishing.domain.grouping import grouped
from schemas.frames import KIND_INDEX
from schemas.messages import EngagementKind

_CLICKED: Final = KIND_INDEX[EngagementKind.CLICKED]
_BY: Final = ("content_id", "link")
Numbers = npt.NDArray[np.int64]


def link_clicks(events: npt.NDArray[np.void], group: Numbers, unit: Numbers) -> dict[str, list[Any]]:
    """Count the clicks on articles: columns (group, unit, content_id, link, total), a row for each that differs.

    A click that names no article is on none of its links. Three clicks of one reader are three.
    """
    places = np.flatnonzero((events["kind"] == _CLICKED) & (events["content_id"] != 0))
    columns = {"group": group[places], "unit": unit[places], **{name: events[name][places] for name in _BY}}
    numbers, firsts = grouped(list(columns.values()))
    found = {name: column[firsts].tolist() for name, column in columns.items()}
    return {**found, "total": np.bincount(numbers, minlength=len(firsts)).tolist()}
