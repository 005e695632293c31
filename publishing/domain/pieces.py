"""Owns the cutting of a period into the widest windows that make it up: few rows of days, fine ones at its edges."""

import datetime as dt
from typing import NamedTuple

from publishing.domain.windows import GRAINS, WIDTH_MS, Grain

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


class Piece(NamedTuple):
    """The windows of a grain that begin at or after starts_at and before ends_at (UTC), both borders of the grain."""

    grain: Grain
    starts_at: dt.datetime
    ends_at: dt.datetime


def pieces(grain: Grain, starts_at: dt.datetime, ends_at: dt.datetime) -> list[Piece]:
    """Cut the windows of a grain that begin in [starts_at, ends_at) into pieces of that grain and of wider ones.

    In the order of time, without gap or overlap. Worked: the hours from Monday 22:00 to Thursday 03:00 are two hours,
    the days Tuesday and Wednesday, and three hours: 7 windows instead of 53.
    """
    return _cut(grain, _at_or_after(starts_at, grain), _at_or_after(ends_at, grain))


def _cut(grain: Grain, starts_at: dt.datetime, ends_at: dt.datetime) -> list[Piece]:
    whole = [Piece(grain, starts_at, ends_at)] if starts_at < ends_at else []
    if not whole or grain == GRAINS[-1]:
        return whole
    wider = GRAINS[GRAINS.index(grain) + 1]
    first, last = _at_or_after(starts_at, wider), ends_at - (ends_at - EPOCH) % _width(wider)
    if first >= last:
        return whole
    edges = [Piece(grain, starts_at, first)], [Piece(grain, last, ends_at)]
    before, after = ([edge for edge in side if edge.starts_at < edge.ends_at] for side in edges)
    return [*before, *_cut(wider, first, last), *after]


def _at_or_after(moment: dt.datetime, grain: Grain) -> dt.datetime:
    return moment + (EPOCH - moment) % _width(grain)


def _width(grain: Grain) -> dt.timedelta:
    return dt.timedelta(milliseconds=WIDTH_MS[grain])
