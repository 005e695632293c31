"""Groups of equal rows of numpy columns, by one sort of one number a row where the columns' ranges allow."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Places: TypeAlias = npt.NDArray[np.intp]

# Columns whose ranges need no more bits together stand side by side in one int64.
_BITS = 62


def grouped(columns: Sequence[npt.NDArray[Any]]) -> tuple[Places, Places]:
    """A dense number for each distinct row of the columns, ordered as they are, and the first row of each."""
    key = packed(columns)
    order = np.lexsort(columns[::-1]) if key is None else np.argsort(key, kind="stable")
    changed = np.zeros(len(order), np.bool_)
    changed[:1] = True
    for column in columns if key is None else (key,):
        ordered = column[order]
        changed[1:] |= ordered[1:] != ordered[:-1]
    group = np.empty(len(order), np.intp)
    group[order] = np.cumsum(changed) - 1
    return group, order[changed]


def packed(columns: Sequence[npt.NDArray[Any]]) -> npt.NDArray[np.int64] | None:
    """One number a row that is ordered and equal as the row is; None where the ranges need more than 62 bits.

    Columns of 0..3 and 5..6 make 2 + 1 bits: the row (3, 5) becomes 6, the row (0, 6) becomes 1.
    """
    key = np.zeros(len(columns[0]), np.int64)
    bits = 0
    for column in columns if len(key) else ():
        low = int(column.min())
        width = (int(column.max()) - low).bit_length()
        bits += width
        if bits > _BITS:
            return None
        if width:
            key <<= width
            key |= column.astype(np.int64) - low
    return key


def runs_of(key: npt.NDArray[np.int64]) -> tuple[Places, Places]:
    """The order that brings equal numbers together, and where each run of them starts."""
    order = np.argsort(key, kind="stable")
    ordered = key[order]
    starts = np.ones(len(key), np.bool_)
    starts[1:] = ordered[1:] != ordered[:-1]
    return order, np.flatnonzero(starts)
