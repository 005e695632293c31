"""The comparisons a demo must pass: the ledger against the providers, the aggregates against the log."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from publishing.cli.replaying.recounting import Outcome
from publishing.domain import ledger
from publishing.domain.ledger import State
from publishing.stores.evidence import Cell, Conservation, DeliveryKey

# Where a delivery may be left: settled, or in doubt, which only evidence or a person resolves.
TERMINAL: Final[frozenset[str]] = ledger.TERMINAL | {State.IN_DOUBT}

Number = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Verdict:
    """One comparison: whether it holds, and in words what was found."""

    name: str
    holds: bool
    found: str
    facts: dict[str, Any] = field(default_factory=dict)


def unsettled(runs: Sequence[Conservation]) -> dict[int, Any]:
    """What the runs still wait for, by run; empty when all are planned and every delivery is in a terminal state."""
    return {
        run.run_id: run.by_state | {"unclaimed": run.unclaimed, "planned_by_all": run.planned_by_all}
        for run in runs
        if not run.planned_by_all or run.unclaimed or not set(run.by_state) <= TERMINAL
    }


def conservation(runs: Sequence[Conservation]) -> Verdict:
    """Every run is planned by all shards, its law holds, nothing is unclaimed and every state is terminal."""
    waiting = unsettled(runs)
    broken = [run.run_id for run in runs if not run.holds or run.run_id in waiting]
    found = f"{len(runs)} runs, {sum(run.planned for run in runs)} planned" + (f"; broken: {broken}" if broken else "")
    facts = {"holds": not broken, "runs": [run._asdict() for run in runs]}
    return Verdict("conservation", bool(runs) and not broken, found, facts)


def provider_log(accepted: set[DeliveryKey], in_doubt: set[DeliveryKey], logs: Iterable[tuple[str, Number]]) -> Verdict:
    """What the ledger calls accepted is what the providers logged, each once; what they leave open is in doubt."""
    logged = Counter(DeliveryKey(kind, *number) for kind, number in logs)
    missing = accepted - set(logged)
    unknown = set(logged) - accepted - in_doubt
    twice = {key for key, times in logged.items() if times > 1}
    holds = not (missing or unknown or twice)
    found = f"{len(accepted)} accepted, {len(logged)} logged, {len(in_doubt)} in doubt"
    if not holds:
        found += (
            f"; not logged: {sorted(missing)[:3]}, not in the ledger: {sorted(unknown)[:3]}, twice: {sorted(twice)[:3]}"
        )
    return Verdict("provider log", holds, found, {"equal": holds, "accepted": len(accepted)})


def rooms(articles: Mapping[tuple[int, str], Mapping[int, int]], matching: set[int], expected_rooms: int) -> Verdict:
    """Every article that matches the alert policy reached every room exactly once."""
    wrong = {room: dict(times) for room, times in articles.items() if dict(times) != dict.fromkeys(matching, 1)}
    holds = bool(matching) and not wrong and len(articles) == expected_rooms
    found = f"{len(matching)} matching articles in each of {len(articles)} rooms"
    return Verdict("alert policy", holds, found + (f"; wrong in {sorted(wrong)}" if wrong else ""))


def aggregates(outcome: Outcome | None) -> Verdict:
    """Every cell is what a recount of the log gives, and there are some; None when the log was never all applied."""
    if outcome is None:
        return Verdict("recount", False, "the log is not all applied", {"equal": False, "cells": 0, "events": 0})
    found = f"{outcome.cells} cells, {outcome.events} events"
    if not outcome.is_equal:
        keys = [{name: str(cell[name]) for name in ("grain", "kind", "verdict")} for cell in outcome.differences[:2]]
        found += f"; {outcome.different} differ: {keys}"
    facts = {"equal": outcome.is_equal, "cells": outcome.cells, "events": outcome.events}
    return Verdict("recount", outcome.cells > 0 and outcome.is_equal, found, facts)


def readers(cells: Sequence[Cell], log: Path) -> Verdict:
    """Every hit that was answered to the readers is counted once, and nothing that they did not do."""
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    hits = Counter(line["kind"] for line in lines if line["answered"])
    tried = Counter(line["kind"] for line in lines)
    counted: Counter[str] = Counter()
    for cell in cells:
        if cell.grain == "day":
            counted[cell.kind] += cell.total
    # A hit whose answer was lost with the process may or may not have been made durable before.
    same = all(hits[kind] <= counted[kind] <= tried[kind] for kind in ("opened", "clicked"))
    found = ", ".join(f"{kind} {counted[kind]} (readers: {hits[kind]})" for kind in ("opened", "clicked"))
    return Verdict("readers' log", same and hits["opened"] > 0, found)


def dead_letters(counts: Mapping[str, int]) -> Verdict:
    """No record was buried."""
    buried = {topic: count for topic, count in counts.items() if count}
    return Verdict(
        "dead letters",
        not buried,
        f"{sum(buried.values())} records" + (f": {buried}" if buried else ""),
        {"dlq": dict(buried)},
    )


def doubt(in_doubt: set[DeliveryKey], most: Mapping[str, int]) -> Verdict:
    """No delivery is in doubt, unless its sink was killed: then at most what that kind may have in flight at once."""
    found = Counter(key.kind for key in in_doubt)
    holds = all(count <= most.get(kind, 0) for kind, count in found.items())
    return Verdict("in doubt", holds, f"{len(in_doubt)} deliveries" + (f": {dict(found)}" if found else ""))


def mails(deliveries: Mapping[str, Mapping[str, int]], subscribers: int, in_doubt: int) -> Verdict:
    """The e-mails accepted are as many as the subscribers, less those in doubt."""
    accepted = deliveries.get("email", {}).get("accepted", 0)
    holds = subscribers - in_doubt <= accepted <= subscribers
    return Verdict("mails", holds, f"{accepted} accepted for {subscribers} subscribers")
