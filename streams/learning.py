"""Learns readers' interests from what they clicked: engagement.recorded.v1 -> publishing_subscriber_state."""

from collections import Counter
from collections.abc import Iterable, Mapping

import numpy as np

from publishing.domain.interests import learn, remember
from publishing.domain.matching import ReaderState
from publishing.domain.verdicts import FLAG_UNLEARNED
from publishing.runtime.failpoints import failpoint
from publishing.stores import audience, content
from publishing.stores.audience import Learned
from publishing.stores.offsets import advance_offset
from schemas.frames import KIND_INDEX, VERDICT_INDEX, EventFrame
from schemas.messages import EngagementKind, Verdict
from streams.application import StreamApp
from streams.guard import Batch
from streams.shards import Shard, Shards

Clicks = Counter[tuple[int, int]]


class Learning:
    """Applies the clicks of a shard; an article counts once for each reader."""

    def __init__(self, app: StreamApp, shards: Shards) -> None:
        self._app = app
        self._shards = shards

    async def write(self, batch: Batch[EventFrame]) -> bool:
        """Store what frames teach under the fence; False when the fence is lost."""
        failpoint("audience.after_poll")
        clicks = clicks_of(item.value for item in batch.items)
        place = self._app.fence.place(batch.tp)
        step = {"expected": batch.expected, "after": batch.after}
        if not clicks:
            return await advance_offset(self._app.pool, self._app.consumer_name, place, **step)
        async with self._shards.held(batch.tp.partition) as shard:
            learned = taught(shard, clicks, await self._topics(shard, clicks))
            if not await audience.learn(self._app.pool, self._app.consumer_name, place, learned, **step):
                return False
            shard.learned({number: one.state for number, one in learned.items()})
        return True

    async def _topics(self, shard: Shard, clicks: Clicks) -> dict[int, Mapping[str, float]]:
        wanted = {content_id for _, content_id in clicks}
        found = {number: item.topics for number in wanted if (item := shard.pool.find(number)) is not None}
        missing = sorted(wanted - found.keys())
        if missing:
            found |= {item.content_id: item.topics for item in await content.items_of(self._app.pool, missing)}
        return found


def clicks_of(frames: Iterable[EventFrame]) -> Clicks:
    """How often each (destination, article) was clicked by a human whose clicks may be learned from."""
    clicks: Clicks = Counter()
    for frame in frames:
        events = frame.events
        is_click = events["kind"] == KIND_INDEX[EngagementKind.CLICKED]
        is_human = events["verdict"] == VERDICT_INDEX[Verdict.HUMAN]
        is_taught = (events["flags"] & FLAG_UNLEARNED) == 0
        kept = events[is_click & is_human & is_taught & (events["content_id"] > 0)]
        pairs = np.stack([kept["destination"], kept["content_id"]], axis=1).astype(np.int64)
        clicks.update((destination, article) for destination, article in pairs.tolist())
    return clicks


def taught(shard: Shard, clicks: Clicks, topics: Mapping[int, Mapping[str, float]]) -> dict[int, Learned]:
    """What each reader's state becomes; clicks of others than the shard's readers teach nothing."""
    learned: dict[int, Learned] = {}
    for (destination, article), times in sorted(clicks.items()):
        before = learned[destination].state if destination in learned else shard.state_of(destination)
        if before is None:
            continue
        events = times + (learned[destination].events if destination in learned else 0)
        state = before
        if -article not in before.recent and article in topics:
            weights = learn(before.learned, topics[article])
            state = ReaderState(learned=weights, recent=remember(before.recent, [-article]))
        learned[destination] = Learned(state, events)
    return learned
