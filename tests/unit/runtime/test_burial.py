"""A dead letter is the raw record with where it was and why, and no value of it in its headers."""

import asyncpg
import pytest
from aiokafka.errors import MessageSizeTooLargeError

from publishing.runtime.burial import MAX_KEPT_BYTES, Burial, PoisonError, pairs
from schemas.errors import UnknownSchemaIdError
from tests.fakes.streams import NOON, PREFIX, FakeDlq, FakeRecord

pytestmark = pytest.mark.unit


async def buried(
    record: FakeRecord, error: Exception, *failures: Exception
) -> tuple[str, bytes, bytes, dict[str, bytes]]:
    """What reaches the DLQ."""
    dlq = FakeDlq(failures=list(failures))
    await Burial(PREFIX, dlq.send, lambda: NOON).bury(record, error)
    topic, value, key, headers = dlq.sent[-1]
    assert len(headers) == len(dict(headers))
    return topic, value, key, dict(headers)


async def test_a_dead_letter_carries_the_bytes_the_place_and_the_reason() -> None:
    """Raw bytes, six headers, the key topic/partition/offset, and the record's own headers."""
    record = FakeRecord(17, b"\x00raw", headers=[("ce_id", b"8"), ("reason", b"spoofed")])
    topic, value, key, headers = await buried(record, UnknownSchemaIdError(99))
    assert topic == "x.engagement.recorded.v1.dlq"
    assert (value, key) == (b"\x00raw", b"engagement.recorded.v1/3/17")
    assert headers == {
        "ce_id": b"8",
        "source_topic": b"engagement.recorded.v1",
        "source_partition": b"3",
        "source_offset": b"17",
        "reason": b"unknown_schema_id",
        "error": headers["error"],
        "failed_at": b"2026-05-04T12:00:00.000+00:00",
    }
    assert headers["error"].startswith(b"UnknownSchemaIdError: ")


async def test_a_databases_words_stay_out_of_the_headers() -> None:
    """A database quotes the value it refuses: only the error's name goes on."""
    error = asyncpg.DataError('invalid input: "reader@example.org"')
    *_, headers = await buried(FakeRecord(1), error)
    assert (headers["reason"], headers["error"]) == (b"refused_by_database", b"DataError")


async def test_an_own_reason_is_taken() -> None:
    """A PoisonError names its reason itself, and says more where it knows more."""
    *_, headers = await buried(FakeRecord(1, None), PoisonError("odd"))
    assert (headers["reason"], headers["error"]) == (b"odd", b"odd")
    *_, headers = await buried(FakeRecord(1, None), PoisonError("shape", "x" * 10_000))
    assert (headers["reason"], headers["error"]) == (b"shape", b"x" * 500)


async def test_a_record_too_large_with_our_headers_is_cut() -> None:
    """A record at the broker's limit cannot hold the stream up: its beginning and its size are kept."""
    record = FakeRecord(1, b"x" * 1_000_000)
    _, value, _, headers = await buried(record, PoisonError("odd"), MessageSizeTooLargeError())
    assert len(value) == MAX_KEPT_BYTES
    assert headers["truncated_from_bytes"] == b"1000000"


@pytest.mark.parametrize("headers", [[("a", b"1")], (("a", b"1"),), {"a": b"1"}])
def test_headers_come_in_any_of_fausts_shapes(headers: object) -> None:
    """A list, a tuple or a mapping of headers is read alike; nothing is none."""
    assert pairs(headers) == [("a", b"1")]
    assert pairs(None) == []
