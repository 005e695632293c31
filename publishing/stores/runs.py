"""Owns the reading of runs: what was planned, what became of it, and whether the conservation law holds."""

from typing import Any

from publishing.runtime.statements import load_statements
from publishing.stores.availability import Pool

SQL = load_statements(__file__)


async def one(pool: Pool, run_id: int) -> dict[str, Any] | None:
    """Read one run with the states of its deliveries by channel, or None."""
    row = await pool.fetchrow(SQL.one, run_id)
    if row is None:
        return None
    states: dict[int, dict[str, int]] = {}
    for result in await pool.fetch(SQL.channel_results, run_id):
        states.setdefault(result["channel_id"], {})[result["state"]] = result["deliveries"]
    return {
        **row,
        "channel_results": [{"channel_id": channel_id, "states": found} for channel_id, found in states.items()],
    }


async def conservation(pool: Pool, run_id: int) -> dict[str, Any] | None:
    """Read the conservation law of a run: candidates = excluded + planned, planned = unclaimed + the sum of states."""
    row = await pool.fetchrow(SQL.conservation, run_id)
    return None if row is None else dict(row)
