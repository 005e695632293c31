"""Owns exports: cells as CSV or Parquet, written while they are read, so that their number costs no memory."""

import asyncio
import csv
import datetime as dt
import io
from collections.abc import AsyncIterator, Sequence
from typing import Any

from ingest_api.parquet import Column, ParquetFile

CSV, PARQUET = "text/csv", "application/vnd.apache.parquet"
MEDIA_TYPES = {"csv": f"{CSV}; charset=utf-8; header=present", "parquet": PARQUET}
# A spreadsheet takes a cell that begins with one of these for a formula.
# Source: https://owasp.org/www-community/attacks/CSV_Injection
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")

_TYPES: dict[str, Column] = {
    "window_start": "timestamp",
    "publication_id": "int64",
    "run_id": "int64",
    "channel_id": "int64",
    "kind": "text",
    "arm": "int64",
    "verdict": "text",
    "total": "int64",
    "uniques": "int64",
    "late": "int64",
    "revision": "int64",
    "closed": "boolean",
}
Chunks = AsyncIterator[list[tuple[Any, ...]]]


def format_of(asked: str, accept: str) -> str:
    """Which format is wanted, json, csv or parquet: the parameter decides, else the first that Accept names."""
    if asked:
        return asked
    for part in accept.lower().split(","):
        media_type = part.partition(";")[0].strip()
        if media_type in {CSV, PARQUET}:
            return "csv" if media_type == CSV else "parquet"
        if media_type in {"application/json", "*/*", "application/*"}:
            break
    return "json"


async def as_csv(columns: Sequence[str], chunks: Chunks) -> AsyncIterator[bytes]:
    """Write RFC 4180 with a header; times as ISO 8601 in UTC, truth as true and false; in a thread."""
    yield (",".join(columns) + "\r\n").encode()
    async for rows in chunks:
        yield await asyncio.to_thread(_csv, rows)


async def as_parquet(columns: Sequence[str], chunks: Chunks) -> AsyncIterator[bytes]:
    """Write a Parquet file with a row group a chunk, in a thread: links are answered meanwhile."""
    file = await asyncio.to_thread(ParquetFile, {name: _TYPES[name] for name in columns})
    async for rows in chunks:
        yield await asyncio.to_thread(file.row_group, rows)
    yield await asyncio.to_thread(file.end)


WRITERS = {"csv": as_csv, "parquet": as_parquet}


def _csv(rows: Sequence[tuple[Any, ...]]) -> bytes:
    out = io.StringIO()
    csv.writer(out).writerows([_cell(value) for value in row] for row in rows)
    return out.getvalue().encode()


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str) and value.startswith(FORMULA_STARTS):
        return f"'{value}"
    return value
