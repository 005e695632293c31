"""Which windows a recount can speak of: those whose every event is in the kept log and whose rows are kept too."""

from __future__ import annotations

from typing import Final, NamedTuple

from publishing.cli.replaying.counting import DAY_MS, FUTURE_MS, NEVER_MS
from publishing.cli.replaying.log import Log

MINUTES_KEPT_DAYS: Final = 14


class Coverage(NamedTuple):
    """The first window (ms since 1970) of grain minute and of the others; NEVER_MS where the log is whole."""

    minutes_from_ms: int
    others_from_ms: int


def covered(oldest_ms: list[int], now_ms: int) -> Coverage:
    """What is covered when the oldest kept record of each partition that was cut was appended at these times.

    A record may hold events of up to two days after it was appended (its recorder a day ahead of the log, the event a
    day ahead of its recorder), so that windows are whole from there on. Minutes are dropped after 14 days; the last
    day of them may go at any moment.
    """
    whole_from = max((at + 2 * FUTURE_MS for at in oldest_ms), default=NEVER_MS)
    kept_from = now_ms // DAY_MS * DAY_MS - (MINUTES_KEPT_DAYS - 1) * DAY_MS
    return Coverage(max(whole_from, kept_from), whole_from)


async def coverage_of(log: Log, begins: dict[int, int], now_ms: int) -> Coverage:
    """What is covered of the log as it is kept; of a cut partition without a record nothing is known before now."""
    cut = [(number, begin) for number, begin in begins.items() if begin > 0]
    oldest = [await log.appended_ms(number, begin) for number, begin in cut]
    return covered([now_ms if at is None else at for at in oldest], now_ms)
