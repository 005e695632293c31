"""Owns `tidewire topics`: the catalogue's topics against the broker's."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Sequence
from dataclasses import asdict, is_dataclass
from typing import Annotated, Any, TypeVar

import typer

from publishing.cli.failures import UnreachableError

Answer = TypeVar("Answer")

app = typer.Typer(no_args_is_help=True, help="Make the broker's topics what the catalogue says.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@app.command()
def plan(*, as_json: AsJson = False) -> None:
    """Say which topics `apply` would create; changes nothing."""
    from topics import apply as broker

    settings = _settings()
    question = broker.plan(settings.kafka, prefix=settings.topic_prefix, shards=settings.audience_shards)
    _say(ask_broker(question), "would create", as_json=as_json)


@app.command()
def apply(*, as_json: AsJson = False) -> None:
    """Create the missing topics and wait until each partition has a leader."""
    from topics import apply as broker

    settings = _settings()
    question = broker.apply(settings.kafka, prefix=settings.topic_prefix, shards=settings.audience_shards)
    _say(ask_broker(question), "created", as_json=as_json)


def ask_broker(question: Coroutine[Any, Any, Answer]) -> Answer:
    """The broker's answer; raises UnreachableError in place of the client's errors."""
    import logging

    from aiokafka.errors import KafkaConnectionError, KafkaError

    from topics.errors import TopicsError

    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # the one line is ours
    try:
        return asyncio.run(question)
    except (OSError, KafkaError, TopicsError) as failed:
        if isinstance(failed, TopicsError) and not isinstance(failed.__cause__, KafkaConnectionError):
            raise
        reason = str(failed.__cause__ or failed).partition("\n")[0] or type(failed).__name__
        raise UnreachableError("Kafka", reason, "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS") from failed


def _settings() -> Any:
    from publishing.runtime.settings import load_settings

    return load_settings("kafka_bootstrap_servers")


def _say(changes: Sequence[object], verb: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps([_document(change) for change in changes], default=str))
        return
    for change in changes:
        typer.echo(f"{verb} {change}")
    if not changes:
        typer.echo("nothing to change")


def _document(change: object) -> object:
    return asdict(change) if is_dataclass(change) and not isinstance(change, type) else str(change)
