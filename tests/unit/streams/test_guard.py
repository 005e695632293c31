"""The guard never raises, loses nothing, applies nothing twice, and buries the poison alone."""

import random

import asyncpg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain.poison import PoisonLimit
from publishing.runtime.burial import PoisonError
from schemas.errors import MalformedPayloadError
from streams.guard import MAX_BACKOFF_S, StreamRecord, backoff_s
from tests.fakes.streams import PARTITION, Bench, records_of

pytestmark = pytest.mark.unit


def decode(record: StreamRecord) -> bytes:
    """A value that starts with `bad` is poison."""
    assert record.value is not None
    if record.value.startswith(b"bad"):
        raise MalformedPayloadError("is bad")
    return record.value


def no_limit() -> PoisonLimit:
    """A limit that nothing exceeds."""
    return PoisonLimit(window_records=200, window_s=600.0, least=10**9, ratio=0.5)


async def test_a_good_batch_is_applied_and_the_fence_moves() -> None:
    """Every record is applied once, in offset order, and the fence stands behind the last."""
    bench = Bench(decode)
    await bench.take(records_of(b"a", b"b"))
    assert bench.database.applied == [b"a", b"b"]
    assert bench.fence.expected(PARTITION) == bench.database.next_offset == 2


async def test_replayed_records_end_at_the_fence() -> None:
    """Records below the expected offset are dropped without a write."""
    bench = Bench(decode)
    await bench.take(records_of(b"a", b"b"))
    await bench.take(records_of(b"a", b"b"))
    await bench.take(records_of(b"b", b"c", first=1))
    assert bench.database.applied == [b"a", b"b", b"c"]


async def test_poison_is_buried_alone_and_its_offset_stays_inside_the_fence() -> None:
    """Neighbours of a record that does not decode are applied; the fence passes it."""
    bench = Bench(decode)
    await bench.take(records_of(b"a", b"bad", b"c", b"bad"))
    assert bench.database.applied == [b"a", b"c"]
    assert bench.dlq.offsets == [1, 3]
    assert bench.database.next_offset == 4


@pytest.mark.parametrize("error", [asyncpg.DataError("x"), asyncpg.CheckViolationError("x"), PoisonError("odd")])
async def test_what_the_database_refuses_is_bisected_to_one_record(error: Exception) -> None:
    """A value that only the database refuses costs its own record and no neighbour, wherever it stands."""
    for place in range(7):
        bench = Bench(decode)
        values = [bytes([65 + number]) for number in range(7)]
        bench.database.refused[values[place]] = error
        await bench.take(records_of(*values))
        assert bench.database.applied == [value for value in values if value != values[place]]
        assert bench.dlq.offsets == [place]
        assert bench.database.next_offset == 7


async def test_transient_errors_are_retried_in_place_with_bounded_backoff() -> None:
    """Any other error keeps the batch where it is; waits are jittered and at most 2 s."""
    bench = Bench(decode)
    bench.database.failures = [OSError(), TimeoutError(), asyncpg.ConnectionDoesNotExistError("x")] * 20
    await bench.take(records_of(b"a"))
    assert bench.database.applied == [b"a"]
    assert len(bench.world.slept_s) == 60
    assert max(bench.world.slept_s) <= MAX_BACKOFF_S
    assert not bench.dlq.sent


async def test_an_error_after_the_commit_applies_nothing_twice() -> None:
    """When the answer to a commit is lost the retry loses the fence, loads it, and drops what is done."""
    bench = Bench(decode)
    bench.database.failures_after_commit = [TimeoutError()]
    await bench.take(records_of(b"a", b"b"))
    assert bench.database.applied == [b"a", b"b"]
    assert bench.fence.expected(PARTITION) == 2


async def test_a_lost_fence_is_loaded_again_and_the_rest_is_applied() -> None:
    """After another owner applied the first record only the others are written."""
    bench = Bench(decode)
    await bench.take(records_of(b"a"))
    bench.database.next_offset, bench.database.applied = 2, [b"a", b"rival"]
    await bench.take(records_of(b"b", b"c", first=1))
    assert bench.database.applied == [b"a", b"rival", b"c"]
    assert bench.fence.expected(PARTITION) == 3


async def test_a_failing_dlq_holds_the_batch() -> None:
    """A record counts as buried only once the broker has it; the neighbours wait, nothing is lost."""
    bench = Bench(decode)
    bench.dlq.failures = [OSError(), OSError()]
    await bench.take(records_of(b"a", b"bad", b"c"))
    assert bench.dlq.offsets == [1]
    assert bench.database.applied == [b"a", b"c"]


async def test_a_retry_does_not_bury_twice() -> None:
    """What is buried stays buried while the write beside it is tried again."""
    bench = Bench(decode)
    bench.database.failures = [OSError(), OSError()]
    await bench.take(records_of(b"a", b"bad"))
    assert bench.dlq.offsets == [1]


async def test_mostly_poison_stops_the_worker_before_the_fence_moves() -> None:
    """At the limit the process stops: the batch that exceeded it is neither applied nor advanced over."""
    bench = Bench(decode)
    for first in range(0, 200, 20):
        await bench.take(records_of(*[b"bad"] * 20, first=first))
        if bench.world.stopped_by:
            break
    assert len(bench.world.stopped_by) == 1
    assert bench.database.next_offset == 80
    assert len(bench.dlq.sent) == 99


async def test_without_the_limit_everything_would_be_buried() -> None:
    """The mutant of the limit: a bad deploy empties the topic into the DLQ."""
    bench = Bench(decode, limit=no_limit())
    for first in range(0, 200, 20):
        await bench.take(records_of(*[b"bad"] * 20, first=first))
    assert not bench.world.stopped_by
    assert len(bench.dlq.sent) == 200


async def test_records_before_any_load_are_loaded_for() -> None:
    """A partition whose offset is not known is loaded, not guessed."""
    bench = Bench(decode)
    bench.database.next_offset = 1
    await bench.take(records_of(b"a", b"b"))
    assert bench.database.applied == [b"b"]


@settings(max_examples=100, deadline=None)
@given(
    values=st.lists(st.sampled_from([b"a", b"bad", b"refused"]), min_size=1, max_size=30),
    cuts=st.lists(st.integers(1, 9), min_size=1, max_size=30),
    faults=st.lists(st.sampled_from(["before", "after", "none"]), max_size=12),
)
async def test_any_script_of_faults_is_exact(values: list[bytes], cuts: list[int], faults: list[str]) -> None:
    """Whatever fails when, every good record is applied exactly once, in order, and each poison one is buried once."""
    bench = Bench(decode, limit=no_limit())
    bench.database.refused[b"refused"] = asyncpg.DataError("x")
    records = records_of(*values)
    bench.database.failures = [OSError() for fault in faults if fault == "before"]
    bench.database.failures_after_commit = [OSError() for fault in faults if fault == "after"]
    while records:
        size = cuts[len(records) % len(cuts)]
        await bench.take(records[:size])
        records = records[size:]
    assert bench.database.applied == [value for value in values if value == b"a"]
    assert sorted(bench.dlq.offsets) == [place for place, value in enumerate(values) if value != b"a"]


def test_backoff_is_jittered_and_capped() -> None:
    """Attempt n waits anywhere up to min(2 s, 50 ms * 2^n); attempt 3 at most 400 ms."""
    chance = random.Random(7)
    assert max(backoff_s(3, chance) for _ in range(500)) <= 0.4
    assert 1.9 < max(backoff_s(10_000, chance) for _ in range(500)) <= 2.0
    assert min(backoff_s(10, chance) for _ in range(500)) < 0.1
