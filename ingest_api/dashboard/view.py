"""Owns what the dashboard is asked to show: period, grain, who counts, and which publication."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

from publishing.domain.windows import Grain
from publishing.stores.dashboard import Span

MAX_NUMBER: Final = 2**63 - 1
# A line chart of more points than pixels shows nothing more.
MAX_POINTS: Final = 1_500
# The coarsest grain that has at least so many windows is the default.
FEW_POINTS: Final = 13
DEFAULT_PERIOD: Final = "week"
DEFAULT_VERDICT: Final = "human"
CUSTOM: Final = "dates"
MAX_DAYS: Final = 400
PERIODS: Final = {
    "hour": ("Last hour", dt.timedelta(hours=1)),
    "day": ("24 hours", dt.timedelta(days=1)),
    "week": ("7 days", dt.timedelta(days=7)),
    "month": ("30 days", dt.timedelta(days=30)),
}
VERDICTS: Final = {"human": "People", "machine": "Machines", "all": "All"}
GRAINS: Final = {"minute": dt.timedelta(minutes=1), "hour": dt.timedelta(hours=1), "day": dt.timedelta(days=1)}
EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """One view of the dashboard; starts_at and ends_at (UTC) lie on borders of the grain's windows."""

    period: str
    grain: str
    asked_grain: str
    verdict: str
    publication_id: int | None
    first_day: dt.date | None
    last_day: dt.date | None
    starts_at: dt.datetime
    ends_at: dt.datetime

    @property
    def span(self) -> Span:
        """What is read of the windows."""
        return Span(
            grain=Grain(self.grain),
            starts_at=self.starts_at,
            ends_at=self.ends_at,
            publication_id=self.publication_id,
        )

    @property
    def only(self) -> str | None:
        """The verdict that counts, or None when all do."""
        return None if self.verdict == "all" else self.verdict

    @property
    def grains(self) -> dict[str, bool]:
        """Each grain, and whether it can be chosen for the period."""
        return {grain: is_fitting(grain, self.ends_at - self.starts_at) for grain in GRAINS}

    @property
    def fields(self) -> list[tuple[str, str]]:
        """This view as fields of a form, all but the publication; a grain stands only when it was asked for."""
        found = [("period", self.period), ("verdict", self.verdict)]
        if self.asked_grain:
            found.append(("grain", self.asked_grain))
        if self.first_day and self.last_day:
            found += [("from", self.first_day.isoformat()), ("to", self.last_day.isoformat())]
        return found

    @property
    def query(self) -> str:
        """This view as a query string."""
        chosen = [("publication", str(self.publication_id))] if self.publication_id else []
        return urlencode([*self.fields, *chosen])

    @property
    def first_shown(self) -> str:
        """The first day of the period, for the field of other dates."""
        return self.starts_at.date().isoformat()

    @property
    def last_shown(self) -> str:
        """The last day of the period, for the field of other dates."""
        return (self.ends_at - dt.timedelta(microseconds=1)).date().isoformat()


def read(asked: Mapping[str, str], now: dt.datetime) -> View:
    """Read a query; what makes no sense falls back to the default, since a page's address is edited by hand."""
    first_day, last_day = _date(asked.get("from", "")), _date(asked.get("to", ""))
    period = asked.get("period", "")
    if first_day and last_day and period in {"", CUSTOM} and 0 <= (last_day - first_day).days < MAX_DAYS:
        period = CUSTOM
        starts_at = dt.datetime.combine(first_day, dt.time(), dt.UTC)
        ends_at = dt.datetime.combine(last_day, dt.time(), dt.UTC) + dt.timedelta(days=1)
        grain = _grain(asked.get("grain", ""), ends_at - starts_at)
    else:
        first_day = last_day = None
        period = period if period in PERIODS else DEFAULT_PERIOD
        length = PERIODS[period][1]
        grain = _grain(asked.get("grain", ""), length)
        ends_at = _floor(now, grain) + GRAINS[grain]
        starts_at = ends_at - length
    verdict = asked.get("verdict", "")
    publication = asked.get("publication", "")
    is_number = publication.isascii() and publication.isdigit() and 0 < int(publication[:20]) <= MAX_NUMBER
    return View(
        period=period,
        grain=grain,
        asked_grain=grain if grain == asked.get("grain") else "",
        verdict=verdict if verdict in VERDICTS else DEFAULT_VERDICT,
        publication_id=int(publication) if is_number else None,
        first_day=first_day,
        last_day=last_day,
        starts_at=starts_at,
        ends_at=ends_at,
    )


def is_fitting(grain: str, length: dt.timedelta) -> bool:
    """Whether a period of this length has between two and 1,500 windows of a grain."""
    return 2 * GRAINS[grain] <= length <= MAX_POINTS * GRAINS[grain]


def _grain(asked: str, length: dt.timedelta) -> str:
    if asked in GRAINS and is_fitting(asked, length):
        return asked
    fitting = [grain for grain in GRAINS if is_fitting(grain, length)]
    return next((grain for grain in reversed(fitting) if length / GRAINS[grain] >= FEW_POINTS), fitting[0])


def _floor(moment: dt.datetime, grain: str) -> dt.datetime:
    return moment - (moment - EPOCH) % GRAINS[grain]


def _date(text: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        return None
