"""Who must not be written to, and where: publishing_suppressions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import asyncpg

from publishing.runtime.statements import load_statements

SQL = load_statements(__file__)

Pool: TypeAlias = asyncpg.Pool


@dataclass(frozen=True, slots=True, kw_only=True)
class Suppression:
    """One destination's wish or fate; `scope` is `all`, a kind of channel, or `channel:<id>`."""

    destination: int
    scope: str
    reason: Literal["unsubscribed", "bounced", "complained", "manual"]
    source: str


async def add(pool: Pool, suppressions: Sequence[Suppression]) -> None:
    """Write suppressions; one that is known changes nothing. The next claim or submission already sees them."""
    await pool.execute(
        SQL.add,
        [s.destination for s in suppressions],
        [s.scope for s in suppressions],
        [s.reason for s in suppressions],
        [s.source for s in suppressions],
    )


async def scopes_of(pool: Pool, destination: int) -> Mapping[str, str]:
    """The reason of each scope in which a destination is suppressed."""
    return {row["scope"]: row["reason"] for row in await pool.fetch(SQL.scopes_of, destination)}
