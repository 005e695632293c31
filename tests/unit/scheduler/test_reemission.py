"""How due retries become frames."""

import datetime as dt
from typing import Any

import pytest

from publishing.stores.leases import DueRetry
from schemas.codec import decode, encode
from schemas.messages import DeliveryRequested
from streams.reemission import MAX_DESTINATIONS, to_frames
from topics.catalog import DELIVERY

pytestmark = pytest.mark.unit


def _retry(destination: int, **changed: Any) -> DueRetry:
    fields: dict[str, Any] = {
        "kind": "email",
        "run_id": 7,
        "publication_id": 3,
        "channel_id": 2,
        "destination": destination,
        "shard": 1,
        "chunk": 0,
        "lane": "bulk",
        "template_id": 4,
        "template_version": 1,
        "deadline_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
        "arm": 0,
        "content_ids": [5, 6],
        "scores": [0.5, 0.25],
    }
    return DueRetry(**{**fields, **changed})


def test_a_frame_holds_one_run_channel_shard_and_chunk() -> None:
    """Retries that differ in run, channel, shard, chunk, lane or kind never share a frame."""
    retries = [
        _retry(1),
        _retry(5),
        _retry(9, chunk=1),
        _retry(13, run_id=8),
        _retry(17, channel_id=3),
        _retry(2, shard=2),
        _retry(21, lane="alert"),
        _retry(25, kind="slack"),
    ]
    frames = to_frames(reversed(retries))
    assert sorted(frame.message.destinations for frame in frames) == [(1, 5), (2,), (9,), (13,), (17,), (21,), (25,)]
    topics = {frame.message.destinations[0]: frame.topic for frame in frames}
    assert topics[21] == DELIVERY["email", "alert"]
    assert topics[25] == DELIVERY["slack", "bulk"]


def test_shared_content_stands_once() -> None:
    """Content and scores that all destinations share are written once, others one list a destination."""
    (shared,) = to_frames([_retry(1), _retry(5)])
    assert shared.message.content_ids == ((5, 6),)
    (apart,) = to_frames([_retry(1), _retry(5, content_ids=[6, 5])])
    assert apart.message.content_ids == ((5, 6), (6, 5))
    assert len(apart.message.scores) == 2
    assert decode(encode(apart.message), DeliveryRequested) == apart.message


def test_a_frame_holds_at_most_500_destinations() -> None:
    """A larger group is cut in the order of the destinations."""
    frames = to_frames([_retry(n) for n in range(MAX_DESTINATIONS + 1)])
    assert [len(frame.message.destinations) for frame in frames] == [MAX_DESTINATIONS, 1]
    assert frames[1].message.destinations == (MAX_DESTINATIONS,)
