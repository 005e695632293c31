"""Owns `tidewire verdicts replay`: the kept events judged again by today's rules."""

from __future__ import annotations

import json
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from publishing.cli.replay import ask_both, document_of, figures_of, say_differences, settings_of_replays

if TYPE_CHECKING:
    from publishing.cli.replaying.recounting import NewRules, Outcome
    from publishing.runtime.settings import Settings

FORMATS = ["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]

app = typer.Typer(no_args_is_help=True, help="Judge again who made an event: a human or a machine.")


@app.callback()
def verdicts() -> None:
    """Judge again who made an event: a human or a machine."""


@app.command()
def replay(
    *,
    since: Annotated[datetime, typer.Option(formats=FORMATS, help="From the UTC day of this time on.")],
    is_dry: Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Count the windows since a day again as today's rules judge their events; each changed cell's revision grows."""
    from publishing.domain.verdict_rules import RULES_VERSION

    outcome = ask_both(_judge_again(settings_of_replays(), day_of(since), is_dry=is_dry))
    begins = datetime.fromtimestamp((outcome.since_ms or 0) / 1000, UTC)
    if as_json:
        document = document_of(outcome) | figures_of(outcome)
        document |= {"since": begins.isoformat(), "rules_version": RULES_VERSION, "replay": outcome.replay_id}
        typer.echo(json.dumps(document, default=str))
        return
    say_differences(outcome)
    typer.echo(
        f"rules {RULES_VERSION} since {begins:%Y-%m-%d} UTC: " + ("would change" if is_dry else "changed"), nl=False
    )
    typer.echo(f" {outcome.different} cells")
    if not is_dry:
        typer.echo(f"and {outcome.touches} first touches; the fences were held for {outcome.locked_s:.2f} s")


def day_of(since: datetime) -> datetime:
    """The beginning of the UTC day that a time is in; one without a zone is UTC."""
    aware = since if since.tzinfo else since.replace(tzinfo=UTC)
    return datetime.combine(aware.astimezone(UTC).date(), time(), UTC)


async def _judge_again(settings: Settings, day: datetime, *, is_dry: bool) -> Outcome:
    from migrations import apply
    from publishing.cli.replaying.recounting import check, rebuild
    from publishing.runtime.database import open_pool

    await apply.check(settings.database)
    async with await open_pool(settings, process="replay", max_size=1) as pool:
        work: Any = check if is_dry else rebuild
        outcome: Outcome = await work(settings, pool, rules_of(day))
        return outcome


def rules_of(day: datetime) -> NewRules:
    """Today's rules in their JSON form, since a day."""
    from publishing.cli.replaying.recounting import NewRules
    from publishing.domain.verdict_rules import RULES, RULES_VERSION, as_json

    return NewRules(RULES_VERSION, as_json(RULES), int(day.timestamp()) * 1000)
