"""What the database says of what happened: the ledger's and the aggregates' side of every comparison."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)


class DeliveryKey(NamedTuple):
    """The key of a delivery and the kind of its channel."""

    kind: str
    run_id: int
    channel_id: int
    destination: int


class Cell(NamedTuple):
    """One row of publishing_analytics without its first and last time."""

    grain: str
    window_start: datetime
    publication_id: int
    run_id: int
    channel_id: int
    arm: int
    kind: str
    verdict: str
    total: int
    uniques: int
    late: int
    revision: int


class Conservation(NamedTuple):
    """The conservation law of one run; `holds` is the view's own word."""

    run_id: int
    candidates: int
    excluded: dict[str, int]
    planned: int
    unclaimed: int
    by_state: dict[str, int]
    planned_by_all: bool
    holds: bool


async def deliveries(pool: asyncpg.Pool) -> dict[str, dict[str, int]]:
    """Deliveries by channel kind and state."""
    found: dict[str, dict[str, int]] = {}
    for kind, state, count in await pool.fetch(SQL.deliveries):
        found.setdefault(kind, {})[state] = count
    return found


async def keys_in_state(pool: asyncpg.Pool, states: Iterable[str]) -> set[DeliveryKey]:
    """The keys of all deliveries in any of the states."""
    return {DeliveryKey(*row) for row in await pool.fetch(SQL.keys_in_state, list(states))}


async def conservation(pool: asyncpg.Pool) -> list[Conservation]:
    """The conservation law of every run, oldest first."""
    return [Conservation(*row) for row in await pool.fetch(SQL.conservation)]


async def room_articles(pool: asyncpg.Pool, publication_id: int) -> dict[tuple[int, str], dict[int, int]]:
    """How often each article was accepted by each room of a publication: (channel, kind) -> content -> times."""
    found: dict[tuple[int, str], dict[int, int]] = {}
    for channel_id, kind, content_id, times in await pool.fetch(SQL.room_articles, publication_id):
        found.setdefault((channel_id, kind), {})[content_id] = times
    return found


async def content_about(pool: asyncpg.Pool, topics: Sequence[str]) -> set[int]:
    """The numbers of the articles that carry any of the topics."""
    return {row[0] for row in await pool.fetch(SQL.content_about, list(topics))}


async def content_count(pool: asyncpg.Pool) -> int:
    """How many articles are stored."""
    return int(await pool.fetchval(SQL.content_count))


async def latencies_ms(pool: asyncpg.Pool, publication_id: int) -> list[float]:
    """From an article's submission to each provider's acceptance of it, milliseconds, ascending."""
    return [float(row[0]) for row in await pool.fetch(SQL.latencies, publication_id)]


async def cells(pool: asyncpg.Pool) -> list[Cell]:
    """Every aggregate, by key."""
    return [Cell(*row) for row in await pool.fetch(SQL.cells)]


async def has_run(pool: asyncpg.Pool, publication_id: int) -> bool:
    """Whether any run of the publication exists."""
    return bool(await pool.fetchval(SQL.has_run, publication_id))
