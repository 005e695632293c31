"""Owns the writing of flat Parquet files, a row group at a time, whose bytes can be sent while they are made.

pyarrow is loaded with the first file: it takes 50 MB that a process which only answers links does without.
"""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Column: TypeAlias = Literal["int64", "timestamp", "boolean", "text"]


class _Drain(io.RawIOBase):
    """A sink that gives away what was written and goes on counting: a footer names places in the whole file."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        self._written += len(self._parts[-1])
        return len(self._parts[-1])

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


class ParquetFile:
    """Makes the bytes of one file in order: any number of row groups, then the end; a thread's work."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Begin a file with these columns, in their order; no value is null."""
        import pyarrow as pa
        from pyarrow import parquet

        types = {
            "int64": pa.int64(),
            "timestamp": pa.timestamp("us", tz="UTC"),
            "boolean": pa.bool_(),
            "text": pa.string(),
        }
        self._schema = pa.schema([pa.field(name, types[column], nullable=False) for name, column in columns.items()])
        self._record_batch = pa.record_batch
        self._drain = _Drain()
        self._writer = parquet.ParquetWriter(self._drain, self._schema)

    def row_group(self, rows: Sequence[Sequence[Any]]) -> bytes:
        """Write a group of one row or more; returns the bytes so far that were not returned before."""
        columns = [list(column) for column in zip(*rows, strict=True)]
        self._writer.write_batch(self._record_batch(columns, schema=self._schema))
        return self._drain.take()

    def end(self) -> bytes:
        """Write the footer; returns the rest of the bytes."""
        self._writer.close()
        return self._drain.take()
