"""Frames of deliveries as they arrive: decoded, and checked for what a schema cannot say."""

from publishing.stores.deliveries import Frame
from schemas.codec import decode
from schemas.errors import SchemaError
from schemas.messages import DeliveryRequested
from sinks.burial import PoisonError
from sinks.contract import MAX_ARTICLES

MAX_DESTINATIONS = 500


def read_frame(payload: bytes | None, *, kind: str, lane: str) -> Frame:
    """The frame of a record's value; raises PoisonError."""
    try:
        message = decode(payload or b"", DeliveryRequested)
    except SchemaError as error:
        raise PoisonError(error.reason, f"{type(error).__name__}: {error}") from error
    count = len(message.destinations)
    if message.lane != lane:
        raise PoisonError("wrong_lane")
    if not 0 < count <= MAX_DESTINATIONS or len(set(message.destinations)) != count or len(message.arms) != count:
        raise PoisonError("shape", "destinations or arms")
    if len(message.content_ids) not in {1, count} or list(map(len, message.content_ids)) != list(
        map(len, message.scores)
    ):
        raise PoisonError("shape", "content_ids or scores")
    if not all(0 < len(ids) <= MAX_ARTICLES for ids in message.content_ids):
        raise PoisonError("shape", "number of articles")
    repeats = count if len(message.content_ids) == 1 else 1
    return Frame(
        run_id=message.run_id,
        channel_id=message.channel_id,
        kind=kind,
        shard=message.shard,
        chunk=message.chunk,
        lane=lane,
        template_id=message.template_id,
        template_version=message.template_version,
        deadline_at=message.deadline_at,
        destinations=message.destinations,
        arms=message.arms,
        content_ids=message.content_ids * repeats,
        scores=message.scores * repeats,
    )
