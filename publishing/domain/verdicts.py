"""Owns the verdict on a hit: what is kept of who made it, and whether a human did."""

import dataclasses
import re
from collections.abc import Mapping
from functools import lru_cache
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


@lru_cache(maxsize=8_192)
def judgement_of(agent: AgentFamily, network: NetworkClass, flags: int) -> Judgement:
    """Return what the rules say to this evidence."""
    verdict, rule = decide(agent, network, flags)
    return Judgement(verdict=verdict, rule=rule, agent=agent, network=network, flags=flags)


def _prefetch_flag(headers: Mapping[bytes, bytes]) -> int:
    for name in _PREFETCH_HEADERS:
        if name in headers and _PREFETCH.search(headers[name][:MAX_AGENT_CHARS]):
            return FLAG_PREFETCH
    return 0
