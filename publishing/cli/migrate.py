"""Owns `tidewire migrate`: the database's revision against the code's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Annotated, TypeVar

import typer

from publishing.cli.failures import FAILED, UnreachableError

Answer = TypeVar("Answer")

app = typer.Typer(no_args_is_help=True, help="Bring the database to the revision of this code.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def up(*, as_json: AsJson = False) -> None:
    """Apply every pending migration."""
    from migrations import apply

    _say(_ask(apply.upgrade(_database_url())), as_json=as_json)


@app.command()
def status(*, as_json: AsJson = False) -> None:
    """Say which revision the database has and which ones wait."""
    from migrations import apply

    _say(_ask(apply.status(_database_url())), as_json=as_json)


@app.command()
def check(*, as_json: AsJson = False) -> None:
    """Exit 1 when the database is behind the code."""
    from migrations import apply

    found = _ask(apply.status(_database_url()))
    _say(found, as_json=as_json)
    if found.pending:
        raise typer.Exit(FAILED)


def _database_url() -> str:
    from publishing.runtime.settings import load_settings

    return load_settings("database_url").database


def _ask(question: Coroutine[None, None, Answer]) -> Answer:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        return asyncio.run(question)
    except (OSError, SQLAlchemyError) as failed:
        reason = str(failed).partition("\n")[0] or type(failed).__name__
        raise UnreachableError("PostgreSQL", reason, "TIDEWIRE_DATABASE_URL") from failed


def _say(found: object, *, as_json: bool) -> None:
    from migrations.apply import MigrationStatus

    assert isinstance(found, MigrationStatus)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    typer.echo(f"database {found.current or 'empty'}, code {found.newest}")
    for revision in found.pending:
        typer.echo(f"pending  {revision}")
