"""Owns what an error of the database means for the caller: try again at once, answer later, or a fault of ours."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import asyncpg

Pool = asyncpg.Pool
Answer = TypeVar("Answer")

ATTEMPTS = 5
PAUSE_S = 0.02

# The statement was undone whole, and the same statement may well pass now.
REPEATABLE = (
    asyncpg.DeadlockDetectedError,
    asyncpg.SerializationError,
    asyncpg.UniqueViolationError,
)
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
)


def is_unavailable(error: BaseException) -> bool:
    """Whether the database could not be asked: the caller answers 503 and may try again later."""
    return isinstance(error, UNAVAILABLE)


async def repeated(statement: Callable[[], Awaitable[Answer]]) -> Answer:
    """Run one statement, again after a deadlock or a lost race for a unique key; the fifth failure is raised."""
    for attempt in range(1, ATTEMPTS):
        try:
            return await statement()
        except REPEATABLE:
            await asyncio.sleep(PAUSE_S * attempt)
    return await statement()
