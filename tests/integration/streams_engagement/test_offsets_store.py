"""The fence in PostgreSQL: compare and set, from the log's beginning on, whoever races."""

import asyncio

import pytest

from publishing.stores.offsets import Place, Pool, advance_offset, load_offsets
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

PLACE = Place(ENGAGEMENT_RECORDED.name, 1)


async def test_a_place_begins_at_zero_and_only_there(pool: Pool) -> None:
    """Without a row only an expectation of 0 advances; the first row is then the fence of all others."""
    assert await load_offsets(pool, "engagement", [PLACE]) == {PLACE: 0}
    assert not await advance_offset(pool, "engagement", PLACE, expected=5, after=6)
    assert await advance_offset(pool, "engagement", PLACE, expected=0, after=6)
    assert not await advance_offset(pool, "engagement", PLACE, expected=0, after=6)
    assert not await advance_offset(pool, "engagement", PLACE, expected=5, after=7)
    assert await advance_offset(pool, "engagement", PLACE, expected=6, after=9)
    other = Place(PLACE.topic, 2)
    assert await load_offsets(pool, "engagement", [PLACE, other]) == {PLACE: 9, other: 0}
    assert await load_offsets(pool, "audience", [PLACE]) == {PLACE: 0}


@pytest.mark.parametrize("start", [0, 10])
async def test_of_many_at_once_exactly_one_advances(pool: Pool, start: int) -> None:
    """Owners that expect the same offset race for one row, a new or a known one: one of them wins."""
    if start:
        await advance_offset(pool, "engagement", PLACE, expected=0, after=start)
    won = await asyncio.gather(
        *(advance_offset(pool, "engagement", PLACE, expected=start, after=start + 1 + n) for n in range(8))
    )
    assert sum(won) == 1
    assert await load_offsets(pool, "engagement", [PLACE]) == {PLACE: start + 1 + won.index(True)}
