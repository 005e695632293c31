"""Rules of verdicts: a total table over all evidence, and the same after a way through JSON."""

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain import verdict_rules
from publishing.domain.verdict_rules import (
    FLAG_BURST,
    FLAG_HONEYPOT,
    FLAG_OUTSIDE_ID,
    FLAG_PREFETCH,
    FLAG_PRIVATE,
    FLAG_SOON,
    FLAG_UNLEARNED,
    RULES,
    RULES_VERSION,
    Rule,
    RulesError,
    as_json,
    decide,
    from_json,
)
from schemas.messages import AgentFamily, NetworkClass, Verdict

pytestmark = pytest.mark.unit

FLAGS = [FLAG_OUTSIDE_ID, FLAG_PREFETCH, FLAG_SOON, FLAG_BURST, FLAG_HONEYPOT, FLAG_PRIVATE, FLAG_UNLEARNED]
EVIDENCE = list(itertools.product(AgentFamily, NetworkClass, range(128)))


@pytest.mark.parametrize(
    ("agent", "network", "flags", "verdict", "rule"),
    [
        ("browser", "unknown", 0, "human", 8),
        ("browser", "residential", FLAG_PRIVATE | FLAG_UNLEARNED | FLAG_OUTSIDE_ID, "human", 8),
        ("browser", "private", 0, "human", 8),
        ("browser", "proxy", 0, "human", 8),
        ("mail_client", "unknown", 0, "human", 7),
        ("image_proxy", "proxy", 0, "human", 3),
        ("image_proxy", "proxy", FLAG_SOON, "human", 3),
        ("image_proxy", "private", 0, "machine", 4),
        ("browser", "unknown", FLAG_PREFETCH, "machine", 1),
        ("image_proxy", "proxy", FLAG_PREFETCH, "machine", 1),
        ("browser", "gateway", 0, "machine", 2),
        ("bot", "gateway", FLAG_HONEYPOT, "machine", 10),
        ("browser", "unknown", FLAG_HONEYPOT, "machine", 10),
        ("browser", "unknown", FLAG_BURST, "machine", 11),
        ("browser", "unknown", FLAG_SOON, "machine", 13),
        ("mail_client", "unknown", FLAG_SOON, "machine", 13),
        ("browser", "datacenter", 0, "machine", 12),
        ("bot", "unknown", 0, "machine", 5),
        ("script", "unknown", FLAG_SOON, "machine", 6),
        ("unknown", "unknown", 0, "unknown", 9),
    ],
)
def test_evidence_decides(agent: str, network: str, flags: int, verdict: str, rule: int) -> None:
    """The first rule that applies gives the verdict, and its number."""
    assert decide(AgentFamily(agent), NetworkClass(network), flags) == (Verdict(verdict), rule)


def test_all_evidence_has_a_verdict() -> None:
    """The table is total: each of the 4,608 kinds of evidence has a rule, and each rule decides some."""
    rules = {decide(agent, network, flags)[1] for agent, network, flags in EVIDENCE}
    assert rules == {rule.number for rule in RULES}


def test_evidence_of_a_machine_makes_no_human() -> None:
    """Adding evidence of a machine never turns a machine into a human."""
    for agent, network, flags in EVIDENCE:
        if decide(agent, network, flags)[0] is Verdict.MACHINE:
            for flag in (FLAG_PREFETCH, FLAG_BURST, FLAG_HONEYPOT, FLAG_SOON):
                assert decide(agent, network, flags | flag)[0] is Verdict.MACHINE


def test_flags_about_privacy_are_no_evidence() -> None:
    """An outside id, a withheld number and what is not learned say nothing about who it was."""
    for agent, network, flags in EVIDENCE:
        kept = flags & ~(FLAG_OUTSIDE_ID | FLAG_PRIVATE | FLAG_UNLEARNED)
        assert decide(agent, network, flags) == decide(agent, network, kept)


def test_numbers_names_and_flags_are_unique() -> None:
    """A number means one rule for good, and a flag is one bit."""
    assert len({rule.number for rule in RULES}) == len({rule.name for rule in RULES}) == len(RULES)
    assert sorted(FLAGS) == [1 << place for place in range(7)]
    assert RULES_VERSION >= 2


def test_rules_come_back_from_json() -> None:
    """What is stored with a replay decides as the rules that it was made of."""
    again = from_json(json.loads(json.dumps(as_json())))
    assert again == RULES
    assert all(decide(*one, again) == decide(*one) for one in EVIDENCE)
    assert list(as_json()[0]) == ["number", "name", "version", "verdict", "agents", "networks", "any_flags"]


ANY_RULES = st.lists(
    st.builds(
        Rule,
        st.integers(1, 9_999),
        st.text(max_size=20),
        st.integers(1, 99),
        st.sampled_from(Verdict),
        st.none() | st.frozensets(st.sampled_from(AgentFamily)),
        st.none() | st.frozensets(st.sampled_from(NetworkClass)),
        st.integers(0, 127),
    ),
    max_size=6,
    unique_by=lambda rule: rule.number,
)


@given(ANY_RULES)
def test_any_rules_come_back(rules: list[Rule]) -> None:
    """An empty set stays empty and None stays None: one applies to nothing, the other to everything."""
    assert from_json(as_json(rules)) == tuple(rules)


def test_no_rule_applies() -> None:
    """Rules without a last one leave the rest unknown, by rule 0."""
    assert decide(AgentFamily.BOT, NetworkClass.UNKNOWN, 0, ()) == (Verdict.UNKNOWN, 0)


@pytest.mark.parametrize(
    "change",
    [
        {"number": 0},
        {"number": 10_000},
        {"number": "x"},
        {"verdict": "robot"},
        {"agents": ["nobody"]},
        {"networks": "moon"},
        {"any_flags": -1},
        {"agents": 3},
    ],
)
def test_malformed_rules_are_refused(change: dict[str, Any]) -> None:
    """A row that is no rule is named by its place."""
    with pytest.raises(RulesError, match="rule 0"):
        from_json([as_json()[0] | change])


def test_missing_fields_and_doubles_are_refused() -> None:
    """A row without a field, and a number that is there twice, are refused."""
    row = as_json()[0]
    with pytest.raises(RulesError, match="rule 0"):
        from_json([{name: value for name, value in row.items() if name != "any_flags"}])
    with pytest.raises(RulesError, match="twice"):
        from_json([row, row])


def test_the_module_is_data() -> None:
    """Rules read agent, network and flags, and nothing else: that is what the log keeps."""
    fields = {field for field in Rule.__dataclass_fields__ if field not in {"number", "name", "version", "verdict"}}
    assert fields == {"agents", "networks", "any_flags"}
    assert verdict_rules.MAX_FLAGS == 9_999
