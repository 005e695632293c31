"""How a background loop of a worker repeats: a failed pass is noted and tried again, as Faust would end the worker."""

import asyncio
from collections.abc import Awaitable, Callable

from publishing.runtime import metrics
from publishing.runtime.logs import get_logger

log = get_logger(__name__)


async def repeat(name: str, once: Callable[[], Awaitable[None]], *, every_s: float, limit_s: float = 30.0) -> None:
    """Await `once` and then pause, for ever; a pass ends within limit_s seconds."""
    while True:
        try:
            async with asyncio.timeout(limit_s):
                await once()
        except Exception as error:  # noqa: BLE001 - whatever failed, the next pass tries it again
            metrics.LOOP_FAILURES.labels(name).inc()
            log.warning("loop.failed", loop=name, error=type(error).__name__)
        await asyncio.sleep(every_s)
