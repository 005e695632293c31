"""Statements that the database cannot take now are tried again in place, until it can or the worker leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import TypeVar

from publishing.runtime import metrics
from publishing.runtime.logs import get_logger
from publishing.stores.availability import REPEATABLE, is_unavailable
from sinks.leaving import Leave

FIRST_PAUSE_S = 0.1
MAX_PAUSE_S = 2.0

Answer = TypeVar("Answer")
log = get_logger(__name__)


class LeftError(Exception):
    """The worker leaves while the database is away: what is claimed is found by its lease."""


async def patiently(
    statement: Callable[[], Awaitable[Answer]], *, leave: Leave, consumer: str, random: Random
) -> Answer:
    """Run a statement until the database takes it; raises LeftError, and any error that a retry cannot mend."""
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            return await statement()
        except Exception as error:
            if not (is_unavailable(error) or isinstance(error, REPEATABLE)):
                raise
            log.warning("database.unavailable", error=type(error).__name__, consumer=consumer)
            metrics.RETRIES.labels(consumer).inc()
        if leave.is_overdue:
            raise LeftError
        await asyncio.sleep(FIRST_PAUSE_S if leave.is_asked else pause_s * random.uniform(0.5, 1.0))
        pause_s = min(pause_s * 2, MAX_PAUSE_S)
