"""What a demo reports: lines for a person, and build/demo/summary.json for a program."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import typer

from publishing.cli.demonstration.oracles import Verdict
from publishing.stores.evidence import Cell

SHOWN_WINDOWS = 12


def percentile(ascending: Sequence[float], share: float) -> float | None:
    """The value below which `share` in [0, 1] of an ascending sequence lies (nearest rank); None for an empty one."""
    if not ascending:
        return None
    rank = max(1, math.ceil(share * len(ascending)))
    return round(ascending[rank - 1], 1)


def latency(ascending: Sequence[float]) -> dict[str, float | None]:
    """p50 and p95 of an ascending sequence of milliseconds."""
    return {"p50": percentile(ascending, 0.50), "p95": percentile(ascending, 0.95)}


def windows(cells: Iterable[Cell]) -> list[dict[str, Any]]:
    """Totals by minute, kind and verdict over all runs and channels."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for cell in cells:
        if cell.grain == "minute":
            key = (cell.window_start.isoformat(), cell.kind, cell.verdict)
            row = found.setdefault(
                key, {"window_start": key[0], "kind": key[1], "verdict": key[2], "total": 0, "uniques": 0, "late": 0}
            )
            for name in ("total", "uniques", "late"):
                row[name] += getattr(cell, name)
    return [found[key] for key in sorted(found)]


def write(path: Path, facts: Mapping[str, Any]) -> None:
    """Write the summary for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(facts, indent=2, default=str) + "\n", encoding="utf-8")


def show(facts: Mapping[str, Any], verdicts: Sequence[Verdict]) -> None:
    """Print the summary for a person."""
    typer.echo("\nDeliveries")
    for kind, states in facts["deliveries"].items():
        typer.echo(f"  {kind:8} " + ", ".join(f"{state} {count}" for state, count in states.items()))
    typer.echo("Aggregates by minute")
    for row in facts["windows"][:SHOWN_WINDOWS]:
        typer.echo(
            f"  {row['window_start'][:16]}  {row['kind']:10} {row['verdict']:8} total {row['total']:6}"
            f"  uniques {row['uniques']:6}  late {row['late']}"
        )
    ms = facts["alert_latency_ms"]
    typer.echo(f"Alert, content to provider: p50 {ms['p50']} ms, p95 {ms['p95']} ms")
    if any(facts["restarts"].values()):
        typer.echo(f"Restarts: {', '.join(f'{name} {count}' for name, count in facts['restarts'].items() if count)}")
    typer.echo("Checks")
    for verdict in verdicts:
        typer.echo(f"  {'holds ' if verdict.holds else 'BROKEN'}  {verdict.name:14} {verdict.found}")
