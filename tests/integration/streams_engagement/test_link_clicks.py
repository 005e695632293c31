"""Clicks by link are written with the windows: once, under the fence, and only for events that count."""

from typing import Any

import asyncpg
import pytest

from publishing.domain.windows import NO_WATERMARK, OUTSIDE_ID, Frame, fold
from publishing.stores.engagement import Advance, apply_engagement
from publishing.stores.offsets import Place
from schemas.frames import KIND_INDEX, VERDICT_INDEX, new_events
from schemas.messages import EngagementKind, Verdict
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

NOW_MS = 1_770_000_000_000
PLACE = Place(ENGAGEMENT_RECORDED.name, 0)
CLICK = {"kind": KIND_INDEX[EngagementKind.CLICKED], "run_id": 7, "publication_id": 2, "channel_id": 1}
HUMAN, MACHINE = VERDICT_INDEX[Verdict.HUMAN], VERDICT_INDEX[Verdict.MACHINE]


def frame_of(*rows: dict[str, Any]) -> Frame:
    """A frame of clicks at one time."""
    events = new_events(len(rows))
    events["occurred_at"] = NOW_MS
    for number, row in enumerate(rows):
        for name, value in (CLICK | row).items():
            events[name][number] = value
    return Frame(events, NOW_MS, NOW_MS)


async def stored(pool: asyncpg.Pool) -> set[tuple[Any, ...]]:
    """All rows by article, link, verdict and total."""
    rows = await pool.fetch(
        "SELECT publication_id, run_id, content_id, link, verdict, total FROM publishing_link_clicks"
    )
    return {tuple(row) for row in rows}


async def test_clicks_add_up_over_batches_and_only_under_the_fence(pool: asyncpg.Pool) -> None:
    """Batches add up, a batch whose fence is lost adds nothing, and an unsubscription in it changes no parameter."""
    leaving = {"kind": KIND_INDEX[EngagementKind.UNSUBSCRIBED], "destination": 5}
    rows = [{"content_id": 9, "link": 1, "verdict": HUMAN}, {"content_id": 9, "link": 1, "verdict": MACHINE}]
    first = fold([frame_of(*rows, rows[0])], NO_WATERMARK)
    second = fold([frame_of(rows[0], leaving, {"content_id": 0})], NO_WATERMARK)
    assert (await apply_engagement(pool, Advance("engagement", PLACE, 0, 1), first)).is_held
    assert not (await apply_engagement(pool, Advance("engagement", PLACE, 0, 1), first)).is_held
    assert (await apply_engagement(pool, Advance("engagement", PLACE, 1, 2), second)).is_held
    assert await stored(pool) == {(2, 7, 9, 1, "human", 3), (2, 7, 9, 1, "machine", 1)}


async def test_a_repeat_from_outside_adds_no_click(pool: asyncpg.Pool) -> None:
    """An event whose id is known is on no link either."""
    row = {"content_id": 9, "flags": OUTSIDE_ID, "event_id": list(b"k" * 16), "verdict": HUMAN}
    for offset in range(2):
        folded = fold([frame_of(row)], NO_WATERMARK)
        assert (await apply_engagement(pool, Advance("engagement", PLACE, offset, offset + 1), folded)).is_held
    assert await stored(pool) == {(2, 7, 9, 0, "human", 1)}
