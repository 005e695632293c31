"""Structured logs: one JSON object a line on standard error, with the correlation and without personal data."""

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from publishing.runtime.correlation import CORRELATION
from publishing.runtime.settings import Settings

# Whatever looks like an address, or like a reader's token, is replaced: the last net, not the first.
# It begins only where a word does: else a long word without an @ would be searched from each of its letters.
ADDRESS = re.compile(r"(?<![^\s@<>\"'])[^\s@<>\"']+@[^\s@<>\"']+\.[^\s@<>\"']+")
TOKEN = re.compile(r"/(o|c|u)/[A-Za-z0-9_\-/]{16,}")
Event = MutableMapping[str, Any]


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return TOKEN.sub(r"/\1/[token]", ADDRESS.sub("[address]", value))
    return value


def _without_personal_values(_: Any, __: str, event: Event) -> Event:
    return {key: _redacted(value) for key, value in event.items()}


def _with_correlation(_: Any, __: str, event: Event) -> Event:
    traceparent = CORRELATION.get()
    if traceparent:
        event.setdefault("correlation_id", traceparent.split("-")[1])
    return event


def configure_logs(settings: Settings, process: str) -> None:
    """Send structlog and the standard library's loggers to standard error, in the format of the settings."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _with_correlation,
        _without_personal_values,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.INFO)
    for noisy in ("aiokafka", "botocore", "aiobotocore", "httpx", "alembic", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    structlog.contextvars.bind_contextvars(process=process)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger named after its module; events are dotted nouns and states, facts are keyword arguments."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
