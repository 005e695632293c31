"""Owns the rules of verdicts as data: what the evidence of an event says about who made it."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from schemas.messages import AgentFamily, NetworkClass, Verdict

# Grows with each change of RULES; `publishing_verdict_replays` keeps it beside the rules that it names.
RULES_VERSION = 2

# Flags of EngagementRecorded. The first says whose the event's id is; the others are what rules may read.
FLAG_OUTSIDE_ID = 1
FLAG_PREFETCH = 2
FLAG_SOON = 4
FLAG_BURST = 8
FLAG_HONEYPOT = 16
FLAG_PRIVATE = 32
FLAG_UNLEARNED = 64
# `flags` is a decimal of two bytes and four digits.
MAX_FLAGS = 9_999


class RulesError(ValueError):
    """The rules are not of the form that as_json gives: take them from where it wrote them."""

    def __init__(self, problem: str) -> None:
        """Keep what is wrong with which rule."""
        super().__init__(problem)
        self.problem = problem


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """A verdict for events of these agent families and networks (None: any) that carry any of these flags (0: any).

    `number` is what an event keeps; it is never given to another rule. `version` grows when the rule changes.
    """

    number: int
    name: str
    version: int
    verdict: Verdict
    agents: frozenset[AgentFamily] | None = None
    networks: frozenset[NetworkClass] | None = None
    any_flags: int = 0

    def applies(self, agent: AgentFamily, network: NetworkClass, flags: int) -> bool:
        """Whether the evidence is of the kind that this rule is about."""
        return (
            (self.agents is None or agent in self.agents)
            and (self.networks is None or network in self.networks)
            and (not self.any_flags or bool(flags & self.any_flags))
        )


_MACHINE, _HUMAN, _UNKNOWN = Verdict.MACHINE, Verdict.HUMAN, Verdict.UNKNOWN
_PERSONAL = frozenset({AgentFamily.BROWSER, AgentFamily.MAIL_CLIENT, AgentFamily.UNKNOWN})
_IMAGE_PROXY = frozenset({AgentFamily.IMAGE_PROXY})

# The first that applies decides; the last applies to everything. A proxy that fetches when the reader opens (3) is
# the reader: to call it a machine would lose most of Gmail's.
RULES: tuple[Rule, ...] = (
    Rule(1, "prefetch header", 1, _MACHINE, any_flags=FLAG_PREFETCH),
    Rule(10, "invisible link", 1, _MACHINE, any_flags=FLAG_HONEYPOT),
    Rule(2, "security gateway", 2, _MACHINE, networks=frozenset({NetworkClass.GATEWAY})),
    Rule(11, "burst over many links", 1, _MACHINE, any_flags=FLAG_BURST),
    Rule(3, "image proxy of a reader", 1, _HUMAN, agents=_IMAGE_PROXY, networks=frozenset({NetworkClass.PROXY})),
    Rule(4, "image proxy that fetches by itself", 2, _MACHINE, agents=_IMAGE_PROXY),
    Rule(5, "bot", 1, _MACHINE, agents=frozenset({AgentFamily.BOT})),
    Rule(6, "script", 1, _MACHINE, agents=frozenset({AgentFamily.SCRIPT})),
    Rule(12, "data centre", 1, _MACHINE, agents=_PERSONAL, networks=frozenset({NetworkClass.DATACENTER})),
    Rule(13, "too soon after the send", 1, _MACHINE, agents=_PERSONAL, any_flags=FLAG_SOON),
    Rule(7, "mail client", 1, _HUMAN, agents=frozenset({AgentFamily.MAIL_CLIENT})),
    Rule(8, "browser", 1, _HUMAN, agents=frozenset({AgentFamily.BROWSER})),
    Rule(9, "nothing known", 1, _UNKNOWN),
)


def decide(agent: AgentFamily, network: NetworkClass, flags: int, rules: Sequence[Rule] = RULES) -> tuple[Verdict, int]:
    """Return the verdict on this evidence and the number of the rule that gave it; (unknown, 0) when none applies."""
    for rule in rules:
        if rule.applies(agent, network, flags):
            return rule.verdict, rule.number
    return _UNKNOWN, 0


def as_json(rules: Iterable[Rule] = RULES) -> list[dict[str, Any]]:
    """Return the rules in their order as JSON holds them; null stands for any agent or network."""
    return [
        {
            "number": rule.number,
            "name": rule.name,
            "version": rule.version,
            "verdict": rule.verdict.value,
            "agents": None if rule.agents is None else sorted(agent.value for agent in rule.agents),
            "networks": None if rule.networks is None else sorted(network.value for network in rule.networks),
            "any_flags": rule.any_flags,
        }
        for rule in rules
    ]


def from_json(rows: Iterable[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Read rules that as_json gave; raises RulesError for a row that is none, or a number that is there twice."""
    rules = tuple(_rule(place, row) for place, row in enumerate(rows))
    numbers = [rule.number for rule in rules]
    if len(set(numbers)) != len(numbers):
        raise RulesError("a rule's number is there twice")
    return rules


def _rule(place: int, row: Mapping[str, Any]) -> Rule:
    try:
        agents, networks = row["agents"], row["networks"]
        rule = Rule(
            number=int(row["number"]),
            name=str(row["name"]),
            version=int(row["version"]),
            verdict=Verdict(row["verdict"]),
            agents=None if agents is None else frozenset(map(AgentFamily, agents)),
            networks=None if networks is None else frozenset(map(NetworkClass, networks)),
            any_flags=int(row["any_flags"]),
        )
    except (LookupError, TypeError, ValueError) as error:
        raise RulesError(f"rule {place} is malformed") from error
    if not (0 < rule.number <= MAX_FLAGS and 0 <= rule.any_flags <= MAX_FLAGS):
        raise RulesError(f"rule {place} has a number out of range")
    return rule
