"""Fault R21: what a page reports twice is counted once."""

import json
from typing import Any

import pytest

from publishing.domain.links import Purpose, sign_reader
from publishing.domain.windows import NO_WATERMARK, Frame, fold
from publishing.stores.engagement import Advance, apply_engagement
from publishing.stores.offsets import Place, Pool
from schemas.frames import decode_frame
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = [pytest.mark.faults, pytest.mark.integration]

NOON_MS = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 12 * 3_600_000
IDS = [f"3f1c{number}" for number in range(20)]


async def report(target: Any, ids: list[str]) -> None:
    """A page reports its opens."""
    token = sign_reader(target.ring, purpose=Purpose.OPEN, run_id=77, publication_id=12, channel_id=3, destination=41)
    events = [{"id": number, "kind": "opened", "reader": token, "occurred_at": NOON_MS} for number in ids]
    answer = await target.client.post("/e", content=json.dumps({"events": events}))
    assert answer.json() == {"accepted": len(ids), "refused": []}


async def counted(target: Any, pool: Pool, *, keeps_ids: bool = True) -> int:
    """How many opens the windows hold once the frames, and then all of them again, were applied in the log's order."""
    frames = [decode_frame(payload) for _, payload in target.kept.frames]
    if not keeps_ids:
        for frame in frames:
            frame.events["flags"] &= ~1
    watermark_ms = NO_WATERMARK
    for offset, frame in enumerate(frames * 2):
        folded = fold([Frame(frame.events, NOON_MS, NOON_MS, None)], watermark_ms)
        place = Place(ENGAGEMENT_RECORDED.name, 1)
        applied = await apply_engagement(pool, Advance("engagement", place, offset, offset + 1), folded)
        assert applied.is_held
        watermark_ms = folded.watermark_ms
    total = await pool.fetchval("SELECT sum(total) FROM publishing_analytics WHERE grain = 'day'")
    return int(total)


async def test_a_batch_that_is_sent_again_counts_once(make_target: Any, pool: Pool) -> None:
    """A client that had no answer sends its batch again, in part with others; and the log is replayed on top."""
    target = make_target()
    for ids in (IDS[:15], IDS[:15], IDS[5:], IDS[:1] * 3):
        await report(target, ids)
    assert await counted(target, pool) == len(IDS)


async def test_the_repeats_hit_a_count_without_ids(make_target: Any, pool: Pool) -> None:
    """The mutant looks at no id, and counts each report and each replay: the repeats above are some."""
    target = make_target()
    for ids in (IDS[:15], IDS[:15]):
        await report(target, ids)
    assert await counted(target, pool, keeps_ids=False) == 60
