"""The engagement worker, changed: `python mutant_worker.py <mutation>...`; most lack a guard (negative controls)."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from publishing.domain import windows
from publishing.domain.poison import PoisonLimit
from publishing.runtime.burial import Burial
from publishing.runtime.clock import now_ms
from publishing.runtime.failpoints import failpoint
from publishing.stores import engagement as store
from publishing.stores.offsets import advance_offset
from streams import engagement


def small_batches() -> None:
    """No mutant: a record is a part and a statement takes few, so that a log has many commits to be killed around."""
    engagement.PART_BYTES, engagement.BATCH_PARTS = 1, 8


def drop_the_comparison() -> None:
    """The fence advances whatever offset it finds: a zombie's write is taken."""
    comparison = " AND o.next_offset = a.expected"
    assert comparison in store.SQL.fence
    store.SQL.fence = store.SQL.fence.replace(comparison, "")


def _unfence() -> None:
    """Take the offsets out of the statement."""
    head, tail = store.SQL.fence.split("held AS MATERIALIZED (", 1)
    fence, watermark = tail.split("watermark AS (", 1)
    assert "UPDATE stream_offsets" in fence
    unfenced = "fence AS MATERIALIZED (SELECT $1::text, $2::text),\n"
    store.SQL.fence = head + unfenced + "watermark AS (" + watermark


def upsert_then_commit() -> None:
    """The effects are committed first and the offsets after them: what lies between is applied twice."""
    _unfence()
    apply = store.apply_partitions

    async def apply_then_advance(
        pool: Any, advances: Sequence[store.Advance], folded: Any, *, presumed_new: bool = False
    ) -> store.Applied:
        applied = await apply(pool, advances, folded, presumed_new=presumed_new)
        failpoint("mutant.between")
        for advance in advances:
            await advance_offset(pool, advance.consumer, advance.place, expected=advance.expected, after=advance.after)
        return applied

    engagement.apply_partitions = apply_then_advance  # type: ignore[attr-defined]


def commit_now_and_then() -> None:
    """Offsets are committed every 50 batches, and not when partitions go: the next owner applies the rest again."""
    _unfence()
    apply = store.apply_partitions
    pending: dict[Any, store.Advance] = {}
    batches = 0

    async def apply_and_advance_seldom(
        pool: Any, advances: Sequence[store.Advance], folded: Any, *, presumed_new: bool = False
    ) -> store.Applied:
        nonlocal batches
        applied = await apply(pool, advances, folded, presumed_new=presumed_new)
        for one in advances:
            pending[one.place] = one._replace(expected=pending.get(one.place, one).expected)
        batches += 1
        if batches % 50 == 0:
            for one in pending.values():
                await advance_offset(pool, one.consumer, one.place, expected=one.expected, after=one.after)
            pending.clear()
        return applied

    engagement.apply_partitions = apply_and_advance_seldom  # type: ignore[attr-defined]


def skip_without_burying() -> None:
    """Poison is passed over in silence."""

    async def forget(*_: object) -> None:
        return None

    Burial.bury = forget  # type: ignore[method-assign, assignment]


def limit_off() -> None:
    """Any share of poison is buried."""
    PoisonLimit.is_exceeded = property(lambda _: False)  # type: ignore[assignment, method-assign]


def no_dedup() -> None:
    """No id is looked at: what comes again counts again."""
    windows.OUTSIDE_ID = 0
    engagement.REPEATING_SOURCES = engagement._REPEATING_SOURCES = ()  # type: ignore[assignment]


def wall_clock_windows() -> None:
    """An event is in the window of the moment it is read in."""
    windows.clamp = lambda times, *_: np.full_like(times, now_ms())


MUTATIONS: dict[str, Callable[[], None]] = {
    each.__name__: each
    for each in (
        small_batches,
        drop_the_comparison,
        upsert_then_commit,
        commit_now_and_then,
        skip_without_burying,
        limit_off,
        no_dedup,
        wall_clock_windows,
    )
}

if __name__ == "__main__":
    for name in sys.argv[1:]:
        MUTATIONS[name]()
    engagement.main()
