"""Exports: which format is wanted, cells that are no formulas, and Parquet that is made piece by piece."""

import datetime as dt
import io
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from typing import Any

import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest_api import exports
from ingest_api.exports import FORMULA_STARTS, as_csv, format_of
from ingest_api.parquet import Column, ParquetFile

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
    """Whatever is written, in however many row groups, is read back as it was."""
    file = ParquetFile(COLUMNS)
    written = [*(file.row_group(rows) for rows in groups), file.end()]
    table = pyarrow.parquet.read_table(io.BytesIO(b"".join(written)))
    assert table.schema.names == list(COLUMNS)
    assert [tuple(row.values()) for row in table.to_pylist()] == [row for rows in groups for row in rows]


def test_parquet_leaves_as_it_is_made() -> None:
    """Each group's bytes are given away when it is written, and what was given away is not kept."""
    file, rows = ParquetFile({"number": "int64"}), [(number * 2**40,) for number in range(5_000)]
    sizes = [len(file.row_group(rows)) for _ in range(4)]
    assert min(sizes) > 5_000
    assert max(sizes[1:]) < 1.1 * sizes[0]
    assert len(file.end()) < 5_000


def test_pyarrow_is_loaded_by_the_first_export_only() -> None:
    """A process that answers links and exports nothing does not hold pyarrow."""
    script = "import sys, ingest_api.serve, ingest_api.app; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


async def test_parquet_is_written_off_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every step of a file is made in another thread than the one that answers links."""
    threads: list[int] = []

    class Watched(ParquetFile):
        def __init__(self, columns: Any) -> None:
            threads.append(threading.get_ident())
            super().__init__(columns)

        def row_group(self, rows: Any) -> bytes:
            threads.append(threading.get_ident())
            return super().row_group(rows)

        def end(self) -> bytes:
            threads.append(threading.get_ident())
            return super().end()

    async def chunks() -> AsyncIterator[list[tuple[Any, ...]]]:
        yield [(1, "opened")]

    monkeypatch.setattr(exports, "ParquetFile", Watched)
    async for _ in exports.as_parquet(("total", "kind"), chunks()):
        pass
    assert len(threads) == 3
    assert threading.get_ident() not in threads


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
