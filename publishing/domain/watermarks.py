"""Owns gapless numbers: up to which change a shard has applied all of them, in whatever order they arrive."""

from collections.abc import Iterable


class ContiguousMark:
    """The largest n such that every number up to n was applied; numbers start after `start` and have no gaps.

    Worked: from 3, applying 5, 6, 4 leaves the mark at 3, 3, 6.
    """

    __slots__ = ("_ahead", "value")

    def __init__(self, start: int = 0) -> None:
        self.value = start
        self._ahead: set[int] = set()

    def apply(self, numbers: Iterable[int]) -> None:
        """Note numbers as applied; one that was applied before changes nothing."""
        self._ahead.update(number for number in numbers if number > self.value)
        while self.value + 1 in self._ahead:
            self.value += 1
            self._ahead.remove(self.value)

    def has(self, number: int) -> bool:
        """Whether this very number was applied."""
        return number <= self.value or number in self._ahead

    def reached(self, number: int) -> bool:
        """Whether every number up to this one was applied."""
        return number <= self.value
