"""Owns interests: topic weights as exact columns, and what a reader's clicks teach."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import scipy.sparse as sp

STEP = 4096
"""Weights are multiples of 1/4096: sums and products of them are exact in float64, so their order is of no matter."""

LEARNING_RATE = 0.125
"""How far one click moves a learned weight towards 1: from 0.5, with topic weight 1, to 0.5625."""

RING_SIZE = 128
"""Articles a reader's ring remembers, the newest last; a negative number is an article that was learned from."""

ROOM_RING_SIZE = 2_000
"""Articles a room's ring remembers: rooms get whole batches."""

SMALLEST = 1 / STEP


def exact(weight: float) -> float:
    """The nearest multiple of 1/4096 in [0, 1]."""
    return min(max(round(weight * STEP), 0), STEP) / STEP


class Vocabulary:
    """Column numbers of topic names, given in the order in which the names are first met; never taken back."""

    __slots__ = ("_columns",)

    def __init__(self) -> None:
        self._columns: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._columns)

    def column(self, name: str) -> int:
        """The column of a name, a new one when the name is new."""
        return self._columns.setdefault(name, len(self._columns))

    def names(self) -> list[str]:
        """The names, in the order of their columns."""
        return list(self._columns)

    def find(self, name: str) -> int | None:
        """The column of a name, or None when no row has it."""
        return self._columns.get(name)


def weight_matrix(rows: Sequence[Mapping[str, float]], vocabulary: Vocabulary) -> sp.csr_matrix:
    """Rows of topic weights as a sparse matrix (row x topic, float32, exact); the vocabulary grows by new topics."""
    indptr = np.zeros(len(rows) + 1, np.int64)
    columns: list[int] = []
    values: list[float] = []
    for number, row in enumerate(rows):
        for name, weight in row.items():
            if (kept := exact(weight)) > 0:
                columns.append(vocabulary.column(name))
                values.append(kept)
        indptr[number + 1] = len(columns)
    matrix = sp.csr_matrix(
        (np.array(values, np.float32), np.array(columns, np.int32), indptr), shape=(len(rows), len(vocabulary))
    )
    matrix.sort_indices()
    return matrix


def widen(matrix: sp.csr_matrix, width: int) -> sp.csr_matrix:
    """The same rows over `width` topics, of which the last are empty."""
    if matrix.shape[1] == width:
        return matrix
    return sp.csr_matrix((matrix.data, matrix.indices, matrix.indptr), shape=(matrix.shape[0], width))


def stack(parts: Sequence[sp.csr_matrix], width: int) -> sp.csr_matrix:
    """The rows of all parts, in order, over `width` topics."""
    widened = [widen(part, width) for part in parts]
    return sp.csr_matrix(sp.vstack(widened, format="csr"))


def squared_norms(matrix: sp.csr_matrix) -> npt.NDArray[np.float64]:
    """The squared length of each row (exact)."""
    squares = matrix.data.astype(np.float64) ** 2
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    return np.asarray(np.bincount(rows, squares, matrix.shape[0]), np.float64)


def learn(learned: Mapping[str, float], topics: Mapping[str, float]) -> dict[str, float]:
    """Learned weights after a click on an article: each of its topics moves towards 1 by rate x its weight."""
    after = dict(learned)
    for name in sorted(topics):
        before = exact(after.get(name, 0.0))
        moved = exact(before + LEARNING_RATE * min(max(topics[name], 0.0), 1.0) * (1.0 - before))
        if moved >= SMALLEST:
            after[name] = moved
    return after


def remember(ring: Sequence[int], numbers: Iterable[int], *, size: int = RING_SIZE) -> tuple[int, ...]:
    """The ring with the numbers put last, each once, cut to the newest `size`."""
    newest = dict.fromkeys(ring)
    for number in numbers:
        newest.pop(number, None)
        newest[number] = None
    return tuple(newest)[-size:]
