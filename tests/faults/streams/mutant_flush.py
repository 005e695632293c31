"""The engagement worker whose event loop stands still while a batch is written: the negative control of R8."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from publishing.runtime.database import open_pool
from publishing.runtime.settings import load_settings
from publishing.stores import engagement as store
from streams import engagement

apply = store.apply_partitions


async def _flush(advances: Any, folded: Any, *, presumed_new: bool) -> store.Applied:
    async with await open_pool(load_settings("database_url"), process="mutant", max_size=1) as pool:
        return await apply(pool, advances, folded, presumed_new=presumed_new)


async def flush_in_the_loop(_: object, advances: Any, folded: Any, *, presumed_new: bool = False) -> store.Applied:
    """Write in another thread, and let nothing else run meanwhile: neither heartbeats nor the consumer."""
    work = _flush(advances, folded, presumed_new=presumed_new)
    with ThreadPoolExecutor(max_workers=1) as thread:
        return thread.submit(asyncio.run, work).result()


if __name__ == "__main__":
    engagement.apply_partitions = flush_in_the_loop  # type: ignore[assignment]
    engagement.main()
