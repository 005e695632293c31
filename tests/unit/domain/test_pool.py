"""The pool of recent content and its chunks."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.pool import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_ITEMS,
    POOL_HOURS,
    ChunkKey,
    ContentPool,
    gaps,
    hour_of,
    oldest_hour,
    size_of,
)
from schemas.codec import encode
from schemas.messages import ContentItem, ContentReady
from tests.fakes.content_items import NOW, item

pytestmark = pytest.mark.unit

HOUR = dt.timedelta(hours=1)


def stored(pool: ContentPool, frames: list[list[ContentItem]]) -> dict[ChunkKey, tuple[ContentItem, ...]]:
    """What a table holds after frames were added."""
    table: dict[ChunkKey, tuple[ContentItem, ...]] = {}
    for frame in frames:
        table.update(pool.add(frame, now=NOW))
    return table


items = st.builds(
    lambda number, version, age: item(number, version=version, published_at=NOW - age * HOUR),
    st.integers(1, 6),
    st.integers(1, 3),
    st.integers(0, POOL_HOURS + 2),
)


@given(frames=st.lists(st.lists(items, max_size=5), max_size=6))
def test_a_pool_restored_from_its_chunks_is_the_same(frames: list[list[ContentItem]]) -> None:
    """The newest versions survive a restart, whatever was added before."""
    pool = ContentPool(3)
    table = stored(pool, frames)
    restored = ContentPool(3)
    for key in sorted(table):
        assert key.partition == 3
        restored.restore(key, table[key])
    assert restored.versions() == pool.versions()
    assert len(restored) == len(restored.items())


@given(frames=st.lists(st.lists(items, max_size=5), max_size=6))
def test_a_pool_keeps_the_newest_version_of_what_is_recent(frames: list[list[ContentItem]]) -> None:
    """What was published too long ago is never kept; of the rest, the highest version."""
    pool = ContentPool(0)
    stored(pool, frames)
    recent = [one for frame in frames for one in frame if hour_of(one.published_at) >= oldest_hour(NOW)]
    expected: dict[int, int] = {}
    for one in recent:
        expected[one.content_id] = max(expected.get(one.content_id, 0), one.version)
    assert pool.versions() == expected


def test_chunks_are_bounded_in_items_and_bytes() -> None:
    """An hour of many items, or of large ones, is cut into chunks within both limits."""
    many = [item(number) for number in range(1, 451)]
    table = stored(ContentPool(0), [many[:201], many[201:]])
    assert [len(table[key]) for key in sorted(table)] == [MAX_CHUNK_ITEMS, MAX_CHUNK_ITEMS, 50]
    topics = {f"{'t' * 60}{place:02}": 0.5 for place in range(64)}
    large = [item(number, topics=topics) for number in range(1, 61)]
    chunks = stored(ContentPool(0), [large])
    assert len(chunks) > 1
    for some in chunks.values():
        assert len(encode(ContentReady(batch_id=1, items=some))) <= MAX_CHUNK_BYTES


@given(number=st.integers(1, 2**62), name=st.text(max_size=20), weight=st.floats(0, 1))
def test_the_size_of_an_item_is_an_upper_bound(number: int, name: str, weight: float) -> None:
    """The bound that chunks are cut by is never below the encoded size."""
    one = item(number, topics={name.replace("\x00", ""): weight}, expires_at=NOW)
    empty = len(encode(ContentReady(batch_id=1, items=())))
    assert len(encode(ContentReady(batch_id=1, items=(one,)))) - empty <= size_of(one)


def test_old_hours_are_evicted_with_their_keys() -> None:
    """Hours older than the pool's are forgotten, items and chunks; a newer version elsewhere stays."""
    pool = ContentPool(1)
    stored(pool, [[item(1), item(2)], [item(2, version=2, published_at=NOW)]])
    later = NOW + POOL_HOURS * HOUR
    assert pool.evict(now=later) == [ChunkKey(1, hour_of(NOW) - 1, 0)]
    assert pool.versions() == {2: 2}
    assert pool.find(1) is None
    assert pool.find(2) is not None
    assert pool.evict(now=later) == []


def test_keys_read_back() -> None:
    """A key is text that reads back; what is no key raises ValueError."""
    key = ChunkKey(3, 480_000, 12)
    assert key.encode() == b"3:480000:12"
    assert ChunkKey.parse(key.encode()) == key
    with pytest.raises(ValueError, match="unpack"):
        ChunkKey.parse(b"nonsense")


def test_gaps_are_what_is_missing_or_old() -> None:
    """An item that is not held, or held in an older version, is a gap."""
    assert gaps({1: 1, 2: 1, 3: 2}, {1: 1, 2: 2, 3: 1, 4: 1}) == [2, 4]
