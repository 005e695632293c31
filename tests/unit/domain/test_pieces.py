"""Periods cut into the widest windows: nothing is left out, nothing is there twice, and days do most of it."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.pieces import EPOCH, Piece, pieces
from publishing.domain.windows import GRAINS, WIDTH_MS, Grain

pytestmark = pytest.mark.unit

MONDAY = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
HOUR, DAY = dt.timedelta(hours=1), dt.timedelta(days=1)
WIDTHS = {grain: dt.timedelta(milliseconds=width) for grain, width in WIDTH_MS.items()}
# Moments around the beginnings of minutes, hours and days, before 1970 as well, and within a week of each other.
MOMENTS = st.builds(
    lambda minutes, off: EPOCH + dt.timedelta(minutes=minutes, seconds=off),
    st.integers(-5_000, 5_000) | st.integers(-80, 80).map(lambda hours: hours * 60),
    st.integers(-1, 1),
)


def begin_in(grain: Grain, starts_at: dt.datetime, ends_at: dt.datetime) -> list[dt.datetime]:
    """The windows of a grain that begin in a period, found one by one."""
    at = starts_at + (EPOCH - starts_at) % WIDTHS[grain]
    return [at + n * WIDTHS[grain] for n in range(max(0, -((at - ends_at) // WIDTHS[grain])))]


@given(st.sampled_from(GRAINS), MOMENTS, MOMENTS)
def test_pieces_are_the_period(grain: Grain, starts_at: dt.datetime, ends_at: dt.datetime) -> None:
    """The windows of the grain that lie in the pieces are those that begin in the period, each once and in order."""
    cut = pieces(grain, starts_at, ends_at)
    for piece in cut:
        assert piece.starts_at < piece.ends_at
        assert not any((moment - EPOCH) % WIDTHS[piece.grain] for moment in piece[1:])
    within = [at for piece in cut for at in begin_in(grain, piece.starts_at, piece.ends_at)]
    assert within == begin_in(grain, starts_at, ends_at)


@given(st.sampled_from(GRAINS), MOMENTS, MOMENTS)
def test_edges_are_short(grain: Grain, starts_at: dt.datetime, ends_at: dt.datetime) -> None:
    """No piece holds a whole window of a wider grain, so fewer than 24 + 60 windows stand at either edge."""
    for piece in pieces(grain, starts_at, ends_at):
        for wider in GRAINS[GRAINS.index(piece.grain) + 1 :]:
            whole = [at for at in begin_in(wider, *piece[1:]) if at + WIDTHS[wider] <= piece.ends_at]
            assert whole == []


def test_worked() -> None:
    """The hours from Monday 22:00 to Thursday 03:00 are two hours, two days and three hours."""
    starts_at, ends_at = MONDAY + 22 * HOUR, MONDAY + 3 * DAY + 3 * HOUR
    assert pieces(Grain.HOUR, starts_at, ends_at) == [
        Piece(Grain.HOUR, starts_at, MONDAY + DAY),
        Piece(Grain.DAY, MONDAY + DAY, MONDAY + 3 * DAY),
        Piece(Grain.HOUR, MONDAY + 3 * DAY, ends_at),
    ]
    assert pieces(Grain.HOUR, starts_at, starts_at) == []
