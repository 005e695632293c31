"""Owns how rows of windows become the dashboard's figures, without I/O."""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from ingest_api.dashboard.view import GRAINS, View
from publishing.stores.dashboard import READER_KINDS

Row = Mapping[str, Any]

# The steps of a delivery in their order: planned is the plans' count, the others are kinds of events.
STEPS: Final = (
    ("planned", "Planned"),
    ("accepted", "Accepted"),
    ("delivered", "Delivered"),
    ("opened", "Opened"),
    ("clicked", "Clicked"),
    ("unsubscribed", "Unsubscribed"),
)
LINES: Final = (("delivered", "Delivered"), ("opened", "Opened"), ("clicked", "Clicked"))
FAILURES: Final = ("failed", "bounced")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step of the funnel: its ratio to what was planned (None where nothing was) and, in [0, 1], to the widest."""

    key: str
    name: str
    count: int
    of_planned: float | None
    of_widest: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class ChannelFigures:
    """One channel; success is what was accepted and did not bounce, of all that was accepted or failed."""

    id: int
    name: str
    kind: str
    accepted: int
    failed: int
    complained: int
    opened: int
    clicked: int
    success: float | None

    @property
    def open_ratio(self) -> float | None:
        """Readers who opened, of what was accepted."""
        return _ratio(self.opened, self.accepted)


def counts(rows: Iterable[Row], only: str | None) -> dict[str, tuple[int, int]]:
    """Sum by kind: (events, distinct readers); `only` narrows what readers do.

    Without it a reader whom both a person and a machine touched counts twice.
    """
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        if _is_counted(row, only):
            kind = row["kind"]
            total, uniques = found.get(kind, (0, 0))
            found[kind] = (total + row["total"], uniques + row["uniques"])
    return found


def funnel(rows: Iterable[Row], planned: int, only: str | None) -> list[Step]:
    """Order the counts as a delivery goes: of 200 planned and 50 opened, opened is 0.25 of planned."""
    found = counts(rows, only) | {"planned": (planned, planned)}
    shown = {key: found.get(key, (0, 0))[1 if key in READER_KINDS else 0] for key, _ in STEPS}
    widest = max(shown.values())
    return [
        Step(
            key=key,
            name=name,
            count=shown[key],
            of_planned=_ratio(shown[key], planned),
            of_widest=shown[key] / widest if widest else 0.0,
        )
        for key, name in STEPS
    ]


def channels(rows: Iterable[Row], only: str | None) -> list[ChannelFigures]:
    """Gather rows by channel, the most accepted first; one that is unknown here, without a name, is left out."""
    grouped: dict[int, list[Row]] = {}
    for row in rows:
        if row["name"] is not None:
            grouped.setdefault(row["channel_id"], []).append(row)
    found = [_channel(one, only) for one in grouped.values()]
    return sorted(found, key=lambda one: (-one.accepted, one.id))


def _channel(rows: Sequence[Row], only: str | None) -> ChannelFigures:
    found = counts(rows, only)

    def total(kind: str) -> int:
        return found.get(kind, (0, 0))[0]

    accepted, failed, bounced = total("accepted"), total("failed"), total("bounced")
    return ChannelFigures(
        id=rows[0]["channel_id"],
        name=rows[0]["name"],
        kind=rows[0]["channel_kind"],
        accepted=accepted,
        failed=failed + bounced,
        complained=total("complained"),
        opened=found.get("opened", (0, 0))[1],
        clicked=found.get("clicked", (0, 0))[1],
        success=_ratio(max(0, accepted - bounced), accepted + failed),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinkHeat:
    """One link of one article: its clicks, and their ratio in [0, 1] to those of the hottest link."""

    content_id: int
    title: str
    host: str
    link: int
    clicks: int
    of_hottest: float


def heat(rows: Iterable[Row], only: str | None) -> list[LinkHeat]:
    """Order links by their clicks: of 40 and 10, the second has 0.25 of the hottest."""
    counted = [(row, row[only or "total"] or 0) for row in rows]
    hottest = max((clicks for _, clicks in counted), default=0)
    return [
        LinkHeat(
            content_id=row["content_id"],
            title=row["title"] or f"Article {row['content_id']}",
            host=urlsplit(row["url"] or "").hostname or "",
            link=row["link"],
            clicks=clicks,
            of_hottest=clicks / hottest,
        )
        for row, clicks in counted
        if clicks
    ]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """The time series: window starts in Unix seconds, and a column of totals for each line; no window is missing."""

    starts_s: list[int]
    totals: dict[str, list[int]]

    @property
    def spelled(self) -> str:
        """The columns as JSON, the way the chart takes them."""
        return msgspec.json.encode([self.starts_s, *self.totals.values()]).decode()

    @property
    def is_empty(self) -> bool:
        """Whether nothing happened in the whole period."""
        return not any(any(column) for column in self.totals.values())

    @property
    def rows(self) -> list[tuple[dt.datetime, list[int]]]:
        """The windows in which something happened, the newest first, for the table."""
        columns = list(self.totals.values())
        moments = [dt.datetime.fromtimestamp(one, dt.UTC) for one in self.starts_s]
        found = [(moment, [column[place] for column in columns]) for place, moment in enumerate(moments)]
        return [(moment, values) for moment, values in reversed(found) if any(values)]


def course(rows: Iterable[Row], view: View) -> Course:
    """Lay the windows on the period's raster, with zeros where nothing happened; the view's verdict counts."""
    step_s = int(GRAINS[view.grain].total_seconds())
    first_s = int(view.starts_at.timestamp())
    starts_s = list(range(first_s, int(view.ends_at.timestamp()), step_s))
    totals = {key: [0] * len(starts_s) for key, _ in LINES}
    for row in rows:
        place = (int(row["window_start"].timestamp()) - first_s) // step_s
        if row["kind"] in totals and 0 <= place < len(starts_s) and _is_counted(row, view.only):
            totals[row["kind"]][place] += row["total"]
    return Course(starts_s=starts_s, totals=totals)


def _is_counted(row: Row, only: str | None) -> bool:
    """Whether a row is of the verdict that counts; it narrows only what readers do, a provider's receipt has none."""
    return only is None or row["kind"] not in READER_KINDS or row["verdict"] == only


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None
