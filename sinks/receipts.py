"""The engagement frame that says what became of deliveries, for the streams to count."""

import hashlib
from collections.abc import Mapping, Sequence

from publishing.domain.ledger import State
from publishing.stores.deliveries import Claim, Receipts, Result
from schemas.frames import KIND_INDEX, encode_frame, new_events
from schemas.messages import EngagementKind
from topics.catalog import ENGAGEMENT_RECORDED

# The states whose arrival is an event; the others are either not the end or nobody's news.
KINDS: Mapping[State, EngagementKind] = {
    State.ACCEPTED: EngagementKind.ACCEPTED,
    State.FAILED: EngagementKind.FAILED,
    State.SUPPRESSED: EngagementKind.SUPPRESSED,
}


def receipts_of(
    claim: Claim, results: Sequence[Result], arms: Mapping[int, int], *, now_ms: int, traceparent: str, source: str
) -> Receipts | None:
    """Encode the receipts of results, None when none of them is an event; `arms` by destination."""
    told = [result for result in results if result.state in KINDS]
    if not told:
        return None
    events = new_events(len(told))
    events["occurred_at"] = now_ms
    events["run_id"] = claim.run_id
    events["publication_id"] = claim.publication_id
    events["channel_id"] = claim.channel_id
    events["destination"] = [result.destination for result in told]
    events["arm"] = [arms[result.destination] for result in told]
    events["kind"] = [KIND_INDEX[KINDS[result.state]] for result in told]
    for event, result in zip(events, told, strict=True):
        event["event_id"] = _event_id(claim, result)
    return Receipts(
        topic=ENGAGEMENT_RECORDED.name,
        partition=claim.shard,
        frame=encode_frame(source, now_ms, events),
        traceparent=traceparent,
    )


def _event_id(claim: Claim, result: Result) -> list[int]:
    """The same for the same end of the same delivery, whoever says it: 16 bytes of BLAKE2b."""
    name = f"{claim.run_id}-{claim.channel_id}-{result.destination}/{KINDS[result.state]}"
    return list(hashlib.blake2b(name.encode(), digest_size=16).digest())
