"""The ledger of deliveries: claim, submit, record, hand back; each is one statement (publishing_deliveries)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TypeAlias

import asyncpg

from publishing.domain.ledger import State
from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Place

SQL = load_statements(__file__)

Pool: TypeAlias = asyncpg.Pool

# Long enough for a slow provider's timeout and a group's own statements; a claim is renewed while it waits its turn.
LEASE_S = 60.0
CE_SOURCE = "tidewire/ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """A frame of deliveries as columns; `content_ids` and `scores` hold one list for each destination."""

    run_id: int
    channel_id: int
    kind: str
    shard: int
    chunk: int
    lane: str
    template_id: int
    template_version: int
    deadline_at: datetime | None
    destinations: Sequence[int]
    arms: Sequence[int]
    content_ids: Sequence[Sequence[int]]
    scores: Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One claimed delivery; `verdict` is the state that it must take unsent, None when it may be sent."""

    destination: int
    arm: int
    content_ids: tuple[int, ...]
    scores: tuple[float, ...]
    attempts: int
    verdict: State | None
    reason: str | None
    locale: str
    sealed_address: bytes | None = field(repr=False)
    data_key: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Claimant:
    """Who claims: the consumer whose fence advances, and for how many seconds what it claims is its own."""

    consumer: str
    lease_s: float = LEASE_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a frame's claim holds: the slots that are ours until the lease ends, under one claim number."""

    run_id: int
    channel_id: int
    shard: int
    publication_id: int
    run_day: date
    claim_id: int
    publication: str
    channel_version: int
    lease_s: float
    slots: tuple[Slot, ...]
    # Destinations of the frame that the stored plan does not have: nobody planned them, so nobody sends them.
    unplanned: int


class FenceLostError(Exception):
    """Another worker has advanced this partition: forget the claim, read the offset again and seek to it."""


class UnknownRunError(Exception):
    """The frame's run or channel is not in the database: bury the frame."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one delivery of a claim ends; `after_s` is the wait before the next attempt of a retry or a deferral."""

    destination: int
    state: State
    reason: str | None = None
    provider_message_id: str | None = None
    after_s: float = 0.0
    is_counted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipts:
    """The encoded frame of receipts that goes with results, and where it is to be produced."""

    topic: str
    partition: int
    frame: bytes
    traceparent: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Whether all results were written; if not, `held` are the destinations that are still this claim's."""

    is_whole: bool
    held: frozenset[int]
    outbox_id: int | None


def _literal(numbers: Sequence[int] | Sequence[float]) -> str:
    """A PostgreSQL array literal: rows of one column may differ in length, which its own arrays may not."""
    return "{" + ",".join(map(repr, numbers)) + "}"


async def claim(pool: Pool, claimant: Claimant, place: Place, frame: Frame, *, expected: int, after: int) -> Claim:
    """Advance the fence and claim a frame's destinations in one statement; a claim may hold no slot.

    Raises FenceLostError when the partition has another owner, UnknownRunError; nothing has changed then.
    """
    rows = await pool.fetch(
        SQL.claim,
        claimant.consumer,
        place.topic,
        place.partition,
        expected,
        after,
        frame.run_id,
        frame.shard,
        frame.chunk,
        frame.channel_id,
        frame.kind,
        list(frame.destinations),
        list(frame.arms),
        [_literal(ids) for ids in frame.content_ids],
        [_literal(scores) for scores in frame.scores],
        frame.lane,
        frame.template_id,
        frame.template_version,
        frame.deadline_at,
        claimant.lease_s,
    )
    first = rows[0]
    if not first["is_known"]:
        raise UnknownRunError
    if not first["is_fenced"]:
        raise FenceLostError
    return Claim(
        run_id=frame.run_id,
        channel_id=frame.channel_id,
        shard=frame.shard,
        publication_id=first["publication_id"],
        run_day=first["run_day"],
        claim_id=first["claim_id"],
        publication=first["publication"],
        channel_version=first["channel_version"],
        lease_s=claimant.lease_s,
        slots=tuple(_slot(row) for row in rows if row["destination"] is not None),
        unplanned=len(frame.destinations) - first["planned"],
    )


def _slot(row: asyncpg.Record) -> Slot:
    return Slot(
        destination=row["destination"],
        arm=row["arm"],
        content_ids=tuple(row["content_ids"]),
        scores=tuple(row["scores"]),
        attempts=row["attempts"],
        verdict=None if row["verdict"] is None else State(row["verdict"]),
        reason=row["reason"],
        locale=row["locale"] or "en",
        sealed_address=row["email_sealed"],
        data_key=row["data_key"],
    )


async def submit(
    pool: Pool, held: Claim, destinations: Sequence[int]
) -> tuple[frozenset[int], dict[int, tuple[State, str]]]:
    """Move slots from claimed to submitted: (those that may now be sent, those refused with state and reason).

    A destination in neither is no longer this claim's: it must not be sent, and needs no record.
    """
    rows = await pool.fetch(
        SQL.submit, held.run_day, held.run_id, held.channel_id, held.claim_id, list(destinations), held.lease_s
    )
    refused = {row["destination"]: (State(row["verdict"]), row["reason"]) for row in rows if row["verdict"]}
    return frozenset(row["destination"] for row in rows if not row["verdict"]), refused


async def record(pool: Pool, held: Claim, results: Sequence[Result], receipts: Receipts | None) -> Recorded:
    """Write results and their receipts, all or nothing; see Recorded for what to do when it was nothing."""
    row = await pool.fetchrow(
        SQL.record,
        held.run_day,
        held.run_id,
        held.channel_id,
        held.claim_id,
        [r.destination for r in results],
        [r.state.value for r in results],
        [r.reason for r in results],
        [r.provider_message_id for r in results],
        [r.after_s for r in results],
        [r.is_counted for r in results],
        receipts.topic if receipts else None,
        receipts.partition if receipts else None,
        receipts.frame if receipts else None,
        CE_SOURCE,
        receipts.traceparent if receipts else None,
    )
    assert row is not None
    return Recorded(is_whole=row["is_whole"], held=frozenset(row["held"] or ()), outbox_id=row["outbox_id"])


async def hand_back(pool: Pool, held: Claim, *, after_s: float, reason: str) -> None:
    """Give back what is claimed and was never sent; it is due again `after_s` from now."""
    await pool.execute(SQL.hand_back, held.run_day, held.run_id, held.channel_id, held.claim_id, after_s, reason)


async def mark_sent(pool: Pool, outbox_id: int) -> None:
    """Note that a row of the outbox has been produced."""
    await pool.execute(SQL.mark_sent, outbox_id)


async def disable_channel(pool: Pool, channel_id: int, reason: str) -> None:
    """Stop using a channel that its provider has given up; an editor can activate it again."""
    await pool.execute(SQL.disable_channel, channel_id, reason)
