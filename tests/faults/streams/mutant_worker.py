"""The engagement worker with one guard taken out, `python mutant_worker.py <mutation>`: the negative controls."""

import sys
from collections.abc import Callable
from typing import Any

from publishing.domain.poison import PoisonLimit
from publishing.runtime.burial import Burial
from publishing.runtime.failpoints import failpoint
from publishing.stores import engagement as store
from publishing.stores.offsets import advance_offset
from streams import engagement

FENCE_END = "\n),\nids AS MATERIALIZED ("


def drop_the_comparison() -> None:
    """The fence advances whatever offset it finds: a zombie's write is taken."""
    comparison = " WHERE o.next_offset = $4"
    assert comparison in store.SQL.apply
    store.SQL.apply = store.SQL.apply.replace(comparison, "")


def upsert_then_commit() -> None:
    """The effects are committed first and the offset after them: what lies between is applied twice."""
    head, tail = store.SQL.apply.split(FENCE_END, 1)
    assert "INSERT INTO stream_offsets" in head
    unfenced = "WITH fence AS (SELECT $1::text, $2::text, $3::int, $4::bigint, $5::bigint"
    store.SQL.apply = unfenced + FENCE_END + tail
    apply = store.apply_engagement

    async def apply_then_advance(pool: Any, advance: store.Advance, folded: Any) -> store.Applied:
        applied = await apply(pool, advance, folded)
        failpoint("mutant.between")
        await advance_offset(pool, advance.consumer, advance.place, expected=advance.expected, after=advance.after)
        return applied

    engagement.apply_engagement = apply_then_advance  # type: ignore[attr-defined]


def skip_without_burying() -> None:
    """Poison is passed over in silence."""

    async def forget(*_: object) -> None:
        return None

    Burial.bury = forget  # type: ignore[method-assign, assignment]


def limit_off() -> None:
    """Any share of poison is buried."""
    PoisonLimit.is_exceeded = property(lambda _: False)  # type: ignore[assignment, method-assign]


MUTATIONS: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (drop_the_comparison, upsert_then_commit, skip_without_burying, limit_off)
}

if __name__ == "__main__":
    MUTATIONS[sys.argv[1]]()
    engagement.main()
