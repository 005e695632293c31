"""Owns `tidewire replay engagement`: the aggregates against a recount of the log, and the recount in their place."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from publishing.cli.failures import FAILED, WRONG_USAGE, UnreachableError

if TYPE_CHECKING:
    from publishing.cli.replaying.recounting import Outcome
    from publishing.runtime.settings import Settings

Answer = TypeVar("Answer")

app = typer.Typer(no_args_is_help=True, help="Compute again from the log what the stream has computed.")


@app.callback()
def replay() -> None:
    """Compute again from the log what the stream has computed."""


@app.command()
def engagement(
    *,
    is_check: Annotated[bool, typer.Option("--check", help="Compare; exit 1 on a difference.")] = False,
    is_rebuild: Annotated[bool, typer.Option("--rebuild", help="Replace the cells that differ.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Recount every window from the kept log, and compare it with the live tables or put it in their place."""
    from publishing.cli.replaying.recounting import check, rebuild

    if is_check == is_rebuild:
        typer.echo("tidewire: give one of --check and --rebuild", err=True)
        raise typer.Exit(WRONG_USAGE)
    settings = settings_of_replays()
    outcome = ask_both(_with_pool(settings, check if is_check else rebuild))
    if as_json:
        typer.echo(json.dumps(document_of(outcome) | ({} if is_check else figures_of(outcome)), default=_text))
    elif is_check:
        say_differences(outcome)
    else:
        say_differences(outcome)
        typer.echo(
            f"replaced {outcome.different} cells and {outcome.touches} first touches;"
            f" the fences were held for {outcome.locked_s:.2f} s"
        )
    if is_check and not outcome.is_equal:
        raise typer.Exit(FAILED)


def settings_of_replays() -> Settings:
    """The settings that a replay needs; raises SettingsError."""
    from publishing.runtime.settings import load_settings

    return load_settings("kafka_bootstrap_servers", "database_url")


def ask_both(question: Coroutine[Any, Any, Answer]) -> Answer:
    """An answer that takes the brokers and the database; raises UnreachableError in place of the clients' errors."""
    import logging

    from aiokafka.errors import KafkaError

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the one line is ours
    try:
        return asyncio.run(question)
    except KafkaError as failed:
        reason = str(failed).partition("\n")[0] or type(failed).__name__
        raise UnreachableError("Kafka", reason, "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS") from failed
    except OSError as failed:
        raise UnreachableError("PostgreSQL", str(failed), "TIDEWIRE_DATABASE_URL") from failed


def document_of(outcome: Outcome) -> dict[str, Any]:
    """What a program reads of a comparison; `partitions` are the next offsets, `differences` the first 20 cells."""
    return {
        "equal": outcome.is_equal,
        "cells": outcome.cells,
        "events": outcome.events,
        "poison": outcome.poison,
        "partitions": {str(number): offset for number, offset in outcome.partitions.items()},
        "different": outcome.different,
        "differences": outcome.differences,
        "seconds": round(outcome.seconds, 3),
        "events_per_second": round(outcome.events / outcome.counted_s) if outcome.counted_s else None,
    }


def figures_of(outcome: Outcome) -> dict[str, Any]:
    """What a program reads of a swap besides."""
    return {"changed_cells": outcome.different, "changed_touches": outcome.touches, "locked_s": outcome.locked_s}


def say_differences(outcome: Outcome) -> None:
    """Print a comparison for a person: the first cells that differ, then the counts."""
    for cell in outcome.differences:
        dimensions = " ".join(
            f"{name.removesuffix('_id')} {cell[name]}" for name in ("publication_id", "run_id", "channel_id", "arm")
        )
        typer.echo(
            f"{cell['grain']:<6} {cell['window_start']:%Y-%m-%d %H:%M}"
            f" {cell['kind']:<12} {cell['verdict']:<7} {dimensions}"
        )
        for side in ("live", "recounted"):
            typer.echo(f"       {side:<10} {_line(cell[side])}")
    if outcome.different > len(outcome.differences):
        typer.echo(f"and {outcome.different - len(outcome.differences)} more, in replay.differences")
    verdict = "equal" if outcome.is_equal else f"{outcome.different} cells differ"
    typer.echo(
        f"{verdict}: {outcome.cells} cells, {outcome.events} events of {len(outcome.partitions)} partitions,"
        f" {outcome.poison} poison records, {outcome.seconds:.1f} s"
    )


def _line(measures: dict[str, Any] | None) -> str:
    return "no such cell" if measures is None else " ".join(f"{name} {_text(one)}" for name, one in measures.items())


def _text(one: object) -> str:
    return one.isoformat(timespec="milliseconds") if isinstance(one, datetime) else str(one)


async def _with_pool(settings: Settings, work: Any) -> Outcome:
    from migrations import apply
    from publishing.runtime.database import open_pool

    await apply.check(settings.database)
    async with await open_pool(settings, process="replay", max_size=1) as pool:
        outcome: Outcome = await work(settings, pool)
        return outcome
