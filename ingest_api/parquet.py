"""Owns the writing of flat Parquet files, a row group at a time, without a reader of all the format's other corners.

Plain encoding and gzip, required columns only: what every reader knows. pyarrow would do it too, for 150 MB on disk and
50 MB of memory in the process that must answer links; the tests read what is written here with it.
Source: https://parquet.apache.org/docs/file-format and the thrift compact protocol that it names.
"""

import datetime as dt
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

Column: TypeAlias = Literal["int64", "timestamp", "boolean", "text"]

MAGIC = b"PAR1"
CREATED_BY = "tidewire"
# Numbers of the format's enums (parquet.thrift).
_BOOLEAN, _INT64, _BYTE_ARRAY = 0, 2, 6
_PHYSICAL: dict[Column, int] = {"int64": _INT64, "timestamp": _INT64, "boolean": _BOOLEAN, "text": _BYTE_ARRAY}
_PLAIN, _RLE, _GZIP, _DATA_PAGE, _REQUIRED = 0, 3, 2, 0, 0
_UTF8, _TIMESTAMP_MICROS = 0, 10
# Numbers of types in the thrift compact protocol.
_TRUE, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 5, 6, 8, 9, 12
_SHORT_LIST, _LOW_BITS = 15, 0x7F
# zlib's word for a gzip header (https://docs.python.org/3/library/zlib.html#zlib.compressobj).
_GZIP_WINDOW = 31
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_MICROSECOND = dt.timedelta(microseconds=1)


class _Chunk(NamedTuple):
    """A column of a row group: where it begins, how long it is in the file and unpacked."""

    offset: int
    packed: int
    unpacked: int


class ParquetWriter:
    """Makes the bytes of one file in order: begin, any number of row groups, end."""

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """Keep the names and types of the columns, in their order."""
        self._columns = dict(columns)
        self._groups: list[tuple[int, list[_Chunk]]] = []
        self._written = 0

    def begin(self) -> bytes:
        """The first bytes of the file."""
        return self._counted(MAGIC)

    def row_group(self, values: Sequence[Sequence[Any]]) -> bytes:
        """Write a group of rows given by columns of equal length."""
        parts, chunks = [], []
        for column, column_values in zip(self._columns.values(), values, strict=True):
            body = _plain(column, column_values)
            packing = zlib.compressobj(wbits=_GZIP_WINDOW)
            packed = packing.compress(body) + packing.flush()
            head = _page_header(len(column_values), len(body), len(packed))
            chunks.append(_Chunk(self._written, len(head) + len(packed), len(head) + len(body)))
            parts.append(self._counted(head + packed))
        self._groups.append((len(values[0]), chunks))
        return b"".join(parts)

    def end(self) -> bytes:
        """The footer: the schema and where the row groups are."""
        footer = _fields(
            (1, _I32, _zigzag(1)),
            (2, _LIST, _list(_STRUCT, self._schema())),
            (3, _I64, _zigzag(sum(rows for rows, _ in self._groups))),
            (4, _LIST, _list(_STRUCT, [self._group(rows, chunks) for rows, chunks in self._groups])),
            (6, _BINARY, _binary(CREATED_BY.encode())),
        )
        return self._counted(footer + struct.pack("<i", len(footer)) + MAGIC)

    def _counted(self, part: bytes) -> bytes:
        self._written += len(part)
        return part

    def _schema(self) -> list[bytes]:
        root = _fields((4, _BINARY, _binary(b"cells")), (5, _I32, _zigzag(len(self._columns))))
        return [root, *(_element(name, column) for name, column in self._columns.items())]

    def _group(self, rows: int, chunks: Sequence[_Chunk]) -> bytes:
        described = [
            _fields((2, _I64, _zigzag(chunk.offset)), (3, _STRUCT, _column(name, column, rows, chunk)))
            for (name, column), chunk in zip(self._columns.items(), chunks, strict=True)
        ]
        size = sum(chunk.unpacked for chunk in chunks)
        return _fields((1, _LIST, _list(_STRUCT, described)), (2, _I64, _zigzag(size)), (3, _I64, _zigzag(rows)))


def _plain(column: Column, values: Sequence[Any]) -> bytes:
    """Values in the format's plain encoding: little-endian numbers, bits, strings after their length."""
    if column == "int64":
        return np.asarray(values, "<i8").tobytes()
    if column == "timestamp":
        return np.asarray([(value - _EPOCH) // _MICROSECOND for value in values], "<i8").tobytes()
    if column == "boolean":
        return np.packbits(np.asarray(values, np.bool_), bitorder="little").tobytes()
    texts = [value.encode() for value in values]
    return b"".join(struct.pack("<i", len(text)) + text for text in texts)


def _element(name: str, column: Column) -> bytes:
    fields = [
        (1, _I32, _zigzag(_PHYSICAL[column])),
        (3, _I32, _zigzag(_REQUIRED)),
        (4, _BINARY, _binary(name.encode())),
    ]
    if column == "text":
        fields += [(6, _I32, _zigzag(_UTF8)), (10, _STRUCT, _fields((1, _STRUCT, _fields())))]
    if column == "timestamp":
        is_utc, micros = (1, _TRUE, b""), (2, _STRUCT, _fields((2, _STRUCT, _fields())))
        fields += [(6, _I32, _zigzag(_TIMESTAMP_MICROS)), (10, _STRUCT, _fields((8, _STRUCT, _fields(is_utc, micros))))]
    return _fields(*fields)


def _column(name: str, column: Column, rows: int, chunk: _Chunk) -> bytes:
    return _fields(
        (1, _I32, _zigzag(_PHYSICAL[column])),
        (2, _LIST, _list(_I32, [_zigzag(_PLAIN), _zigzag(_RLE)])),
        (3, _LIST, _list(_BINARY, [_binary(name.encode())])),
        (4, _I32, _zigzag(_GZIP)),
        (5, _I64, _zigzag(rows)),
        (6, _I64, _zigzag(chunk.unpacked)),
        (7, _I64, _zigzag(chunk.packed)),
        (9, _I64, _zigzag(chunk.offset)),
    )


def _page_header(rows: int, unpacked: int, packed: int) -> bytes:
    page = _fields(
        (1, _I32, _zigzag(rows)), (2, _I32, _zigzag(_PLAIN)), (3, _I32, _zigzag(_RLE)), (4, _I32, _zigzag(_RLE))
    )
    return _fields(
        (1, _I32, _zigzag(_DATA_PAGE)), (2, _I32, _zigzag(unpacked)), (3, _I32, _zigzag(packed)), (5, _STRUCT, page)
    )


def _fields(*fields: tuple[int, int, bytes]) -> bytes:
    """A thrift struct: fields in rising order, each with its distance from the one before, and a stop."""
    parts, last = [], 0
    for number, kind, value in fields:
        parts += [bytes([number - last << 4 | kind]), value]
        last = number
    return b"".join([*parts, b"\0"])


def _list(kind: int, items: Sequence[bytes]) -> bytes:
    """A thrift list; from 15 items on the length stands by itself."""
    head = bytes([len(items) << 4 | kind]) if len(items) < _SHORT_LIST else bytes([0xF0 | kind]) + _varint(len(items))
    return head + b"".join(items)


def _binary(value: bytes) -> bytes:
    return _varint(len(value)) + value


def _zigzag(number: int) -> bytes:
    return _varint(number << 1 if number >= 0 else (-number << 1) - 1)


def _varint(number: int) -> bytes:
    parts = bytearray()
    while number > _LOW_BITS:
        parts.append(number & _LOW_BITS | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
