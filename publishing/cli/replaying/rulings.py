"""Verdicts given after the fact: rules in their JSON form, applied to the evidence that a frame carries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

UNJUDGED: Final = "unknown"
"""The verdict where no rule applies."""


class Ruling:
    """One row of publishing_verdict_replays: rules for the events of a partition before an offset, since a time (ms).

    `next_offsets` is by partition; None stands for a ruling over every record that is read.
    """

    def __init__(
        self, rules: Sequence[Mapping[str, Any]], since_ms: int, next_offsets: Mapping[int, int] | None
    ) -> None:
        self.since_ms = since_ms
        self._rules = [
            (
                None if rule["agents"] is None else frozenset(rule["agents"]),
                None if rule["networks"] is None else frozenset(rule["networks"]),
                int(rule["any_flags"]),
                str(rule["verdict"]),
            )
            for rule in rules
        ]
        self._next_offsets = next_offsets
        self._known: dict[tuple[str, str, bytes], str] = {}

    def covers(self, partition: int, offset: int) -> bool:
        """Whether the record is one that was there when the verdicts were replayed."""
        return self._next_offsets is None or offset < self._next_offsets.get(partition, 0)

    def verdict(self, agent: str, network: str, flags: bytes) -> str:
        """The verdict of the first rule that applies; `flags` as the frame has them, big-endian."""
        key = (agent, network, flags)
        if key not in self._known:
            self._known[key] = self._decide(agent, network, int.from_bytes(flags, "big"))
        return self._known[key]

    def _decide(self, agent: str, network: str, flags: int) -> str:
        for agents, networks, any_flags, verdict in self._rules:
            if (
                (agents is None or agent in agents)
                and (networks is None or network in networks)
                and (not any_flags or flags & any_flags)
            ):
                return verdict
        return UNJUDGED
