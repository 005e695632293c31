"""Avro's zigzag numbers."""

from __future__ import annotations

import io

import fastavro
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.varint import read_long, write_long

pytestmark = pytest.mark.unit


@given(st.integers(-(2**63), 2**63 - 1) | st.sampled_from([-(2**63), 2**63 - 1, -1, 63, 64]))
def test_a_number_is_written_as_fastavro_writes_it(number: int) -> None:
    """Every 64-bit number has its shortest encoding, and comes back."""
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)
    assert write_long(number) == out.getvalue()
    assert read_long(b"\xff" + write_long(number) + b"\xff", 1) == (number, 1 + len(write_long(number)))


@pytest.mark.parametrize("payload", [b"", b"\x80", b"\xff" * 11])
def test_a_number_that_does_not_end_is_an_index_error(payload: bytes) -> None:
    """Neither a cut number nor an endless one is read."""
    with pytest.raises(IndexError):
        read_long(payload, 0)
