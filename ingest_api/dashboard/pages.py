"""Owns how the dashboard's pages are rendered: jinja2 with escaping always on, numbers and times spelled in one way."""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Any, Final

import jinja2

from ingest_api.dashboard import assets, figures
from ingest_api.dashboard.facts import Facts
from ingest_api.dashboard.view import PERIODS, VERDICTS, View

# Everything comes from this origin, and nothing is inline: an injected text can be no script and no style.
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Robots-Tag": "noindex, nofollow",
    "Cache-Control": "no-store",
}
# Rows of the table beside the chart.
SHOWN_WINDOWS: Final = 100
MINUTE_S: Final = 60
HOUR_S: Final = 3_600
DAY_S: Final = 86_400


@dataclasses.dataclass(frozen=True, slots=True)
class Option:
    """One button of a switch."""

    key: str
    name: str
    is_fitting: bool = True


def number(value: int) -> str:
    """Group thousands by a narrow no-break space (ISO 80000-1, 7.3.1): 1234567 is 1 234 567."""
    return f"{value:,}".replace(",", "\u202f")


def percent(ratio: float | None) -> str:
    """Spell a ratio in [0, 1]: 0.0725 is 7.3 %; nothing to compare with is a dash; all and none are exact."""
    if ratio is None:
        return "\u2013"
    shown = f"{ratio * 100:.1f}"
    shown = {"0.0": "< 0.1" if ratio > 0 else "0", "100.0": "> 99.9" if ratio < 1 else "100"}.get(shown, shown)
    return f"{shown}\u202f%"


def width(ratio: float) -> str:
    """Spell a bar's width; what is not nothing can be seen."""
    return f"{max(ratio * 100, 0.6 if ratio > 0 else 0):.2f}%"


def age(seconds: float) -> str:
    """Spell a duration by its two largest units: 3725 s is 1 h 2 min."""
    whole = max(0, round(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S} s"
    if whole < 2 * DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S} min"
    return f"{whole // DAY_S} days"


def moment(at: dt.datetime) -> str:
    """Spell a time to the minute."""
    return f"{at:%d %b %Y, %H:%M}"


def clock(at: dt.datetime) -> str:
    """Spell a time to the second, without its day."""
    return f"{at:%H:%M:%S}"


def words(state: str) -> str:
    """Spell a state of the database as words."""
    return state.replace("_", " ")


def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update({one.__name__: one for one in (number, percent, width, age, moment, clock, words)})
    made.globals["urls"] = assets.URLS
    return made


_TEMPLATES: Final = _environment()


def sign_in(refused: str = "") -> str:
    """Render the page that asks for a token."""
    return _TEMPLATES.get_template("sign_in.html").render(refused=refused)


def render(
    name: str, view: View, facts: Facts | None, publications: list[dict[str, Any]] | None, now: dt.datetime
) -> str:
    """Render dashboard.html, view.html (controls and panels) or panels.html; without facts they say what is away."""
    return _TEMPLATES.get_template(name).render(
        view=view,
        facts=facts,
        publications=publications or [],
        chosen=next((one for one in publications or [] if one["id"] == view.publication_id), None),
        now=now,
        lines=figures.LINES,
        shown_windows=SHOWN_WINDOWS,
        periods=[Option(key, name) for key, (name, _) in PERIODS.items()],
        verdicts=[Option(key, name) for key, name in VERDICTS.items()],
        grains=[Option(key, key.capitalize(), is_fitting) for key, is_fitting in view.grains.items()],
        verdict_name=VERDICTS[view.verdict],
    )
