"""Owns the verdict on a hit: what is kept of who made it, and whether a human did."""

import dataclasses
import re
from collections.abc import Mapping
from functools import cache
from typing import NamedTuple

from publishing.domain.agents import MAX_AGENT_CHARS, agent_of
from publishing.domain.tracking import asks_for_privacy
from publishing.domain.verdict_rules import (
    FLAG_BURST,
    FLAG_HONEYPOT,
    FLAG_OUTSIDE_ID,
    FLAG_PREFETCH,
    FLAG_PRIVATE,
    FLAG_SOON,
    FLAG_UNLEARNED,
    decide,
)
from schemas.messages import AgentFamily, NetworkClass, Verdict

__all__ = [
    "FLAG_BURST",
    "FLAG_HONEYPOT",
    "FLAG_OUTSIDE_ID",
    "FLAG_PREFETCH",
    "FLAG_PRIVATE",
    "FLAG_SOON",
    "FLAG_UNLEARNED",
    "Judgement",
    "Visitor",
    "judge",
    "judgement_of",
    "judgements_on",
    "visitor_of",
]

# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose and its forerunners.
_PREFETCH_HEADERS = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_PREFETCH = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with the number of the rule that gave it, and what the rule went by."""

    verdict: Verdict
    rule: int
    agent: AgentFamily
    network: NetworkClass
    flags: int = 0


class Visitor(NamedTuple):
    """What is kept of a request's headers and address; neither can be told from it."""

    agent: AgentFamily
    network: NetworkClass
    flags: int
    is_private: bool


def visitor_of(headers: Mapping[bytes, bytes], network: NetworkClass = NetworkClass.UNKNOWN) -> Visitor:
    """Return who asks, by the headers (lower-case names) and the class of the address's network.

    What an agent gives away of its network goes before the address, but for the address of a gateway.
    """
    agent = agent_of(headers.get(b"user-agent", b"")[:MAX_AGENT_CHARS])
    if agent.network is not NetworkClass.UNKNOWN and network is not NetworkClass.GATEWAY:
        network = agent.network
    return Visitor(agent.family, network, _prefetch_flag(headers), asks_for_privacy(headers))


def judge(headers: Mapping[bytes, bytes], network: NetworkClass = NetworkClass.UNKNOWN, flags: int = 0) -> Judgement:
    """Judge a hit by its headers (lower-case names), its network, and the evidence that is known of it."""
    visitor = visitor_of(headers, network)
    return judgement_of(visitor.agent, visitor.network, flags | visitor.flags)


class Judgements(dict[int, Judgement]):
    """What the rules say by an event's flags, of one agent family in one class of network; found out as it is asked."""

    def __init__(self, agent: AgentFamily, network: NetworkClass) -> None:
        """Begin with nothing found out."""
        super().__init__()
        self._agent = agent
        self._network = network

    def __missing__(self, flags: int) -> Judgement:
        """Judge by the rules, once."""
        verdict, rule = decide(self._agent, self._network, flags)
        found = Judgement(verdict=verdict, rule=rule, agent=self._agent, network=self._network, flags=flags)
        return self.setdefault(flags, found)


@cache
def judgements_on(agent: AgentFamily, network: NetworkClass) -> Judgements:
    """Return what the rules say to this agent and network; the flags of the collector are at most 256 kinds."""
    return Judgements(agent, network)


def judgement_of(agent: AgentFamily, network: NetworkClass, flags: int) -> Judgement:
    """Return what the rules say to this evidence."""
    return judgements_on(agent, network)[flags]


def _prefetch_flag(headers: Mapping[bytes, bytes]) -> int:
    for name in _PREFETCH_HEADERS:
        if name in headers and _PREFETCH.search(headers[name][:MAX_AGENT_CHARS]):
            return FLAG_PREFETCH
    return 0
