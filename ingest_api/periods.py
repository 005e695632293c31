"""Owns how a query string says which period and which channels, publications and kinds it asks for."""

import datetime as dt
from collections.abc import Callable, Collection
from typing import Annotated, TypeVar

from pydantic import Field

from ingest_api.problems import FieldError, invalid

MAX_LIST_CHARS = 2_000
DEFAULT_PERIOD = dt.timedelta(days=7)
# A period and the one before it then stay within what a datetime can hold.
YEARS = range(1970, 2200)

Listed = Annotated[str, Field(max_length=MAX_LIST_CHARS, description="Values separated by commas.")]
Moment = Annotated[str, Field(max_length=40, description="A date, or a time with its offset (ISO 8601).")]
Value = TypeVar("Value")
_MAX_NUMBER = {"channels": 2**31 - 1, "publications": 2**63 - 1}


def period_of(start_date: str, end_date: str, now: dt.datetime) -> tuple[dt.datetime, dt.datetime]:
    """Read a period: a date as its end includes that day, and without any it is the last 7 days; raises a problem."""
    ends_at = _moment("end_date", end_date, is_end=True) or now + dt.timedelta(minutes=1)
    starts_at = _moment("start_date", start_date, is_end=False) or ends_at - DEFAULT_PERIOD
    if starts_at >= ends_at:
        raise invalid(FieldError("end_date", "must be after start_date"))
    return starts_at, ends_at


def numbers_of(field: str, text: str) -> tuple[int, ...] | None:
    """Read the numbers of a field, channels or publications; None when it is empty; raises a problem."""
    largest = _MAX_NUMBER[field]

    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit()) or int(text) > largest:
            raise ValueError("must be numbers separated by commas")
        return int(text)

    return _listed(field, text, read)


def words_of(field: str, text: str, allowed: Collection[str]) -> tuple[str, ...] | None:
    """Read the words of a field, each of the allowed; None when it is empty; raises a problem."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be of {', '.join(sorted(allowed))}")
        return text

    return _listed(field, text, read)


def _listed(field: str, text: str, read: Callable[[str], Value]) -> tuple[Value, ...] | None:
    if not text:
        return None
    try:
        return tuple(read(part.strip()) for part in text.split(","))
    except ValueError as error:
        raise invalid(FieldError(field, str(error))) from error


def _moment(field: str, text: str, *, is_end: bool) -> dt.datetime | None:
    """Read a date or time as UTC; a date stands for its beginning, or as an end for the end of its day."""
    if not text:
        return None
    try:
        # A plus in a query that was not escaped arrives as a space.
        moment = dt.datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
        utc = moment.replace(tzinfo=dt.UTC) if moment.tzinfo is None else moment.astimezone(dt.UTC)
        is_date = len(text) <= len("2026-01-01")
        found = utc + dt.timedelta(days=1) if is_end and is_date else utc
    except (ValueError, OverflowError) as error:
        raise invalid(_no_moment(field)) from error
    if found.year not in YEARS:
        raise invalid(_no_moment(field))
    return found


def _no_moment(field: str) -> FieldError:
    return FieldError(field, "must be a date, or a time with its offset (ISO 8601), from 1970 to 2199")
