"""Owns `tidewire services`: the local Kafka, PostgreSQL and Valkey."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from publishing.local import services
from publishing.local.folders import default_run_dir
from publishing.local.ports import Ports

app = typer.Typer(no_args_is_help=True, help="Start and stop the local Kafka, PostgreSQL and Valkey.")

RunDir = Annotated[
    Path | None,
    typer.Option("--run-dir", help="Where data and logs are kept; the user's cache by default.", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Port on 127.0.0.1; 0 is any free one.")]


@app.command()
def up(
    *,
    run_dir: RunDir = None,
    as_json: AsJson = False,
    kafka_port: Port = 0,
    database_port: Port = 0,
    redis_port: Port = 0,
) -> None:
    """Start the servers that do not run yet, and wait until all answer (the first time downloads Kafka)."""
    ports = Ports(kafka=kafka_port, database=database_port, redis=redis_port)
    found = services.start(run_dir or default_run_dir(), ports=ports)
    if as_json:
        typer.echo(json.dumps(asdict(found)))
        return
    for service, address in asdict(found).items():
        typer.echo(f"{service:<9} {address}")


@app.command()
def down(*, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Stop the servers; their data stays in the run directory."""
    stopped = services.stop(run_dir or default_run_dir())
    if as_json:
        typer.echo(json.dumps({"stopped": stopped}))
    else:
        typer.echo(f"stopped {', '.join(stopped)}" if stopped else "nothing was running")


@app.command()
def status(*, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Say how each server is; exit 1 unless all are ready."""
    states = services.status(run_dir or default_run_dir())
    if as_json:
        typer.echo(json.dumps([asdict(service) for service in states]))
    else:
        for service in states:
            typer.echo(f"{service.service:<9} {service.state:<8} {service.address or '-'}")
    if any(service.state != "ready" for service in states):
        raise typer.Exit(1)


@app.command()
def env(*, run_dir: RunDir = None, as_json: AsJson = False) -> None:
    """Print the settings of the running servers, for `eval "$(tidewire services env)"`."""
    found = services.addresses(run_dir or default_run_dir())
    typer.echo(json.dumps(found.environment()) if as_json else "\n".join(found.export_lines()))
