"""The correlation of one piece of work as it travels HTTP -> Kafka headers -> sink (W3C Trace Context)."""

import re
import secrets
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import datetime

# https://www.w3.org/TR/trace-context/#traceparent-header
TRACEPARENT = re.compile(r"^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")

CORRELATION: ContextVar[str] = ContextVar("tidewire_traceparent", default="")


def new_traceparent() -> str:
    """A traceparent of a new trace, sampled."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-01"


def current_traceparent() -> str:
    """The traceparent of the work at hand; a new one when there is none yet."""
    traceparent = CORRELATION.get()
    if not traceparent:
        traceparent = new_traceparent()
        CORRELATION.set(traceparent)
    return traceparent


def accept_traceparent(value: str | None) -> str:
    """Go on with the trace a caller names, or start one when it names none or a malformed one."""
    traceparent = value if value and TRACEPARENT.match(value) else new_traceparent()
    CORRELATION.set(traceparent)
    return traceparent


def record_headers(ce_type: str, *, ce_id: str, ce_source: str, now: datetime) -> list[tuple[str, bytes]]:
    """The reserved headers of a Kafka record (CloudEvents 1.0 names; (source, id) is the dedup key)."""
    return [
        ("traceparent", current_traceparent().encode()),
        ("ce_id", ce_id.encode()),
        ("ce_type", ce_type.encode()),
        ("ce_source", ce_source.encode()),
        ("ce_time", now.isoformat(timespec="milliseconds").encode()),
    ]


def header(headers: Iterable[tuple[str, bytes]] | None, name: str) -> str | None:
    """The last value of a header as text, or None when it is absent or not UTF-8."""
    found = [value for key, value in headers or () if key == name and value is not None]
    if not found:
        return None
    try:
        return bytes(found[-1]).decode()
    except UnicodeDecodeError:
        return None
