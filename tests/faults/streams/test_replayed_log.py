"""R21: the whole log comes again, as after a client's retries or a relay that lost its marks; it counts once."""

import pytest

from tests.faults.streams.conftest import Stage

pytestmark = pytest.mark.faults

FRAMES = 40


async def twice(stage: Stage, *mutation: str) -> tuple[object, object]:
    """The windows after the log, and after the same records once more; both times everything was read."""
    logs = {
        shard: [(stage.frame(shard=shard), f"{shard}-{n}") for n in range(FRAMES)]
        for shard in range(stage.settings.audience_shards)
    }
    found = []
    async with stage.worker("small_batches", *mutation):
        for _ in range(2):
            for shard, records in logs.items():
                await stage.append(records, partition=shard)
            await stage.drained()
            found.append(await stage.windows())
    assert await stage.offsets() == 2 * FRAMES * stage.settings.audience_shards
    return found[0], found[1]


async def test_a_log_that_comes_twice_counts_once(stage: Stage) -> None:
    """No cell of any window differs after the second pass, and both equal a recount of the doubled log."""
    first, second = await twice(stage)
    assert first == second == await stage.recount()


async def test_the_mutant_without_ids_counts_it_twice(stage: Stage) -> None:
    """Without looking at ids every cell has grown: the second pass really was the same log."""
    first, second = await twice(stage, "no_dedup")
    assert isinstance(first, dict)
    assert isinstance(second, dict)
    assert {key: row[0] * 2 for key, row in first.items()} == {key: row[0] for key, row in second.items()}
