"""Owns `tidewire conservation`: the law that every planned delivery is in exactly one place."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import typer

from publishing.cli.failures import FAILED, UnknownRunError, UnreachableError
from publishing.runtime.settings import Settings, load_settings


def conservation(
    run: Annotated[int, typer.Argument(min=1, metavar="RUN", help="Number of the run.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare what a run planned with what became of it; exit 1 unless the numbers agree."""
    settings = load_settings("database_url")
    try:
        found = asyncio.run(_read(settings, run))
    except OSError as failed:
        raise UnreachableError("PostgreSQL", str(failed), "TIDEWIRE_DATABASE_URL") from failed
    if found is None:
        raise UnknownRunError(run)
    if as_json:
        typer.echo(json.dumps(found, default=str))
    else:
        for name, figure in found.items():
            typer.echo(f"{name:<12} {figure}")
    if not found["holds"]:
        raise typer.Exit(FAILED)


async def _read(settings: Settings, run: int) -> dict[str, Any] | None:
    from migrations import apply
    from publishing.runtime.database import open_pool
    from publishing.stores import runs

    await apply.check(settings.database)
    async with await open_pool(settings, process="cli", max_size=1) as pool:
        return await runs.conservation(pool, run)
