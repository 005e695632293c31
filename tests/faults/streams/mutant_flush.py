"""The engagement worker that writes in its poll loop, which stands still meanwhile: the negative control of R8."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread

from publishing.runtime.database import open_pool
from publishing.runtime.settings import load_settings
from publishing.stores import engagement as store
from streams import engagement

apply = store.apply_partitions
create_consumer = AIOKafkaConsumerThread._create_consumer
poll_loops: list[Any] = []


def remembered(thread: Any, loop: Any) -> Any:
    """Remember the thread whose loop polls and sends the heartbeats."""
    poll_loops.append(thread)
    return create_consumer(thread, loop)


async def _flush(advances: Any, folded: Any, *, presumed_new: bool) -> store.Applied:
    async with await open_pool(load_settings("database_url"), process="mutant", max_size=1) as pool:
        return await apply(pool, advances, folded, presumed_new=presumed_new)


async def stand_still(advances: Any, folded: Any, presumed_new: bool) -> store.Applied:  # noqa: FBT001
    """Let nothing else run in this loop until the write, over a connection of its own, is done."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, _flush(advances, folded, presumed_new=presumed_new)).result()


async def flush_in_the_poll_loop(_: object, advances: Any, folded: Any, *, presumed_new: bool = False) -> store.Applied:
    """Write as `apply_partitions` does, in the loop that polls."""
    applied: store.Applied = await poll_loops[-1].call_thread(stand_still, advances, folded, presumed_new)
    return applied


if __name__ == "__main__":
    consumer: Any = AIOKafkaConsumerThread
    consumer._create_consumer = remembered
    worker: Any = engagement
    worker.apply_partitions = flush_in_the_poll_loop
    engagement.main()
