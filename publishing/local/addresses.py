"""Owns the addresses of the three servers that Tidewire needs, and how they are said to other programs."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Final

VARIABLES: Final = {
    "kafka": "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS",
    "database": "TIDEWIRE_DATABASE_URL",
    "redis": "TIDEWIRE_REDIS_URL",
}
"""The environment variable of each address, in the order in which they are printed."""


@dataclass(frozen=True, slots=True)
class ServiceAddresses:
    """Where the servers answer: `kafka` as host:port[,...], `database` as postgresql://..., `redis` as redis://...."""

    kafka: str
    database: str
    redis: str

    def environment(self) -> dict[str, str]:
        """The three settings that a Tidewire process reads."""
        return {variable: getattr(self, field) for field, variable in VARIABLES.items()}

    def export_lines(self) -> list[str]:
        """Lines that a POSIX shell can evaluate."""
        return [f"export {name}={shlex.quote(value)}" for name, value in self.environment().items()]
