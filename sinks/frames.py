"""Frames of deliveries as they arrive: decoded, checked for what a schema cannot say, and how many may be poison."""

import math

from publishing.domain.poison import PoisonLimit
from publishing.runtime.burial import PoisonError
from publishing.stores.deliveries import Frame
from schemas.codec import decode
from schemas.errors import SchemaError
from schemas.messages import DeliveryRequested
from sinks.contract import MAX_ARTICLES

MAX_DESTINATIONS = 500
# A frame is up to 500 messages that nobody gets: a sink stops at a fifth of what a stream would bury. Frames may be
# hours apart, and those of a bad deploy too, so that none is too old to count.
POISON_WINDOW_RECORDS = 100
POISON_LEAST = 20
POISON_RATIO = 0.5
POISON_WINDOW_S = math.inf


def poison_limit() -> PoisonLimit:
    """The limit of one sink."""
    return PoisonLimit(
        window_records=POISON_WINDOW_RECORDS, window_s=POISON_WINDOW_S, least=POISON_LEAST, ratio=POISON_RATIO
    )


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
