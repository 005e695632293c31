"""Exports: which format is wanted, cells that are no formulas, and Parquet that another implementation reads."""

import datetime as dt
import io
from collections.abc import AsyncIterator
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_api.exports import FORMULA_STARTS, as_csv, format_of
from ingest_api.parquet import Column, ParquetWriter

pytestmark = pytest.mark.unit

COLUMNS: dict[str, Column] = {"at": "timestamp", "number": "int64", "is_so": "boolean", "text": "text"}
# Years that a count of microseconds and Python both know.
TIMES = st.datetimes(dt.datetime(1900, 1, 1), dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001  - bounds
ROWS = st.tuples(TIMES, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.text(st.characters(codec="utf-8")))


@pytest.mark.parametrize(
    ("asked", "accept", "wanted"),
    [
        ("", "", "json"),
        ("", "*/*", "json"),
        ("", "text/csv", "csv"),
        ("", "Text/CSV; q=0.9, application/json", "csv"),
        ("", "application/json, text/csv", "json"),
        ("", "text/html, application/vnd.apache.parquet", "parquet"),
        ("json", "text/csv", "json"),
        ("parquet", "text/csv", "parquet"),
    ],
)
def test_the_format(asked: str, accept: str, wanted: str) -> None:
    """The parameter decides, else the first format that Accept names."""
    assert format_of(asked, accept) == wanted


@settings(deadline=None)  # the first use of pyarrow loads it
@given(st.lists(st.lists(ROWS, min_size=1, max_size=20), max_size=20))
def test_parquet_is_read_back(groups: list[list[Any]]) -> None:
    """Whatever is written, in however many row groups, is read back by pyarrow as it was."""
    writer = ParquetWriter(COLUMNS)
    written = [writer.begin(), *(writer.row_group(list(zip(*rows, strict=True))) for rows in groups), writer.end()]
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(written)))
    assert table.schema.names == list(COLUMNS)
    assert [tuple(row.values()) for row in table.to_pylist()] == [row for rows in groups for row in rows]


@pytest.mark.parametrize("start", FORMULA_STARTS)
async def test_no_formula_in_csv(start: str) -> None:
    """A text that begins as a formula does gets a quote in front; numbers below 0 stay numbers."""

    async def chunks() -> AsyncIterator[list[tuple[Any, ...]]]:
        yield [(-1, f"{start}cmd", True)]

    text = b"".join([part async for part in as_csv(("total", "kind", "closed"), chunks())]).decode()
    head, _, rest = text.partition("\r\n")
    assert head == "total,kind,closed"
    assert rest.startswith(("-1,'", "-1,\"'"))
    assert rest.endswith("true\r\n")
