"""Owns `tidewire run`: starts one of Tidewire's processes, or all of them under a supervisor."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module
from typing import Annotated, Final

import typer

from publishing.cli.failures import NotInstalledError

PROCESSES: Final = {
    "api": ("ingest_api.serve", "The management API, the tracking front and the pages."),
    "review": ("streams.review", "Content intake: quality, duplicates, review."),
    "audience": ("streams.audience", "The shards: matching, ranking and planning."),
    "engagement": ("streams.engagement", "Windowed aggregates of what readers did."),
    "scheduler": ("streams.scheduler", "Due runs, the outbox, retries and retention."),
}
"""The module whose `main` is the process, and what it does."""

SINK: Final = "sinks.worker"
SUPERVISOR: Final = "publishing.cli.supervisor"

app = typer.Typer(no_args_is_help=True, help="Run a process until it is told to stop.")


class Lane(StrEnum):
    """The lane of a delivery: alerts never wait for bulk."""

    ALERT = "alert"
    BULK = "bulk"


def entry_of(module: str) -> Callable[..., object]:
    """The module's `main`; raises NotInstalledError when a package that it needs is missing."""
    try:
        entry: Callable[..., object] = import_module(module).main
    except ModuleNotFoundError as absent:
        raise NotInstalledError(module, f"no module {absent.name}") from absent
    return entry


def _register(name: str, module: str, purpose: str) -> None:
    def start() -> None:
        entry_of(module)()

    app.command(name, help=purpose)(start)


for _name, (_module, _purpose) in PROCESSES.items():
    _register(_name, _module, _purpose)


@app.command()
def sink(
    *,
    kind: Annotated[str, typer.Option(help="email, slack, discord, webhook or feed.")],
    lane: Annotated[Lane, typer.Option(help="Which lane's topic to read.")] = Lane.BULK,
) -> None:
    """Send what is planned for one kind of channel."""
    from topics.catalog import DELIVERY

    if (kind, lane.value) not in DELIVERY:
        kinds = sorted({known for known, _ in DELIVERY})
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(kinds)}", param_hint="--kind")
    entry_of(SINK)(kind, lane.value)


@app.command("all")
def all_processes() -> None:
    """Run every process as a child, and start again what dies."""
    entry_of(SUPERVISOR)()
