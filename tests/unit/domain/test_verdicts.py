"""Verdicts: who made a hit, by its headers, and by which rule."""

import time

import pytest

from publishing.domain.verdict_rules import as_json, decide, from_json
from publishing.domain.verdicts import FLAG_PREFETCH, judge
from schemas.messages import AgentFamily, NetworkClass

pytestmark = pytest.mark.unit

CHROME = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/120.0 Safari/537.36"


@pytest.mark.parametrize(
    ("agent", "verdict", "rule", "family"),
    [
        (CHROME, "human", 8, "browser"),
        ("Mozilla/5.0 (Windows NT 10.0; rv:121.0) Gecko/20100101 Firefox/121.0", "human", 8, "browser"),
        ("Mozilla/5.0 (X11; Linux) Gecko/20100101 Thunderbird/115.0", "human", 7, "mail_client"),
        ("Microsoft Outlook 16.0", "human", 7, "mail_client"),
        ("Mozilla/5.0 (Windows NT 5.1) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)", "human", 3, "image_proxy"),
        ("YahooMailProxy; https://help.yahoo.com", "human", 3, "image_proxy"),
        ("Mozilla/5.0", "machine", 4, "image_proxy"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1)", "machine", 5, "bot"),
        ("Slackbot-LinkExpanding 1.0", "machine", 5, "bot"),
        ("facebookexternalhit/1.1", "machine", 5, "bot"),
        ("Mozilla/5.0 (Windows) Mimecast-Scanner", "machine", 2, "bot"),
        ("curl/8.5.0", "machine", 6, "script"),
        ("python-requests/2.31", "machine", 6, "script"),
        ("Go-http-client/1.1", "machine", 6, "script"),
        ("", "machine", 6, "script"),
        ("SomethingElse/1.0", "unknown", 9, "unknown"),
    ],
)
def test_agents(agent: str, verdict: str, rule: int, family: str) -> None:
    """Each agent gets the verdict of the first rule that knows it."""
    found = judge({b"user-agent": agent.encode()} if agent else {})
    assert (found.verdict, found.rule, found.agent) == (verdict, rule, family)


@pytest.mark.parametrize("header", [b"sec-purpose", b"purpose", b"x-purpose", b"x-moz"])
def test_a_prefetch_is_a_machine(header: bytes) -> None:
    """A browser that fetches ahead is no reader, and the flag says why."""
    found = judge({b"user-agent": CHROME.encode(), header: b"prefetch;prerender"})
    assert (found.verdict, found.rule, found.agent, found.flags) == ("machine", 1, "browser", FLAG_PREFETCH)


@pytest.mark.parametrize("network", NetworkClass)
def test_a_replay_knows_who_fetches_by_itself(network: NetworkClass) -> None:
    """From what the log keeps, Apple's proxy stays a machine and Gmail's its reader, whatever the address."""
    rules = from_json(as_json())
    for name, kept, verdict in (("Mozilla/5.0", "private", "machine"), ("GoogleImageProxy", "proxy", "human")):
        found = judge({b"user-agent": name.encode()}, network)
        is_gateway = network is NetworkClass.GATEWAY
        assert (found.agent, found.network) == (AgentFamily.IMAGE_PROXY, "gateway" if is_gateway else kept)
        assert found.verdict == ("machine" if is_gateway else verdict)
        assert decide(found.agent, found.network, found.flags, rules) == (found.verdict, found.rule)


def test_a_hostile_agent_costs_nothing() -> None:
    """A long agent made to upset patterns is judged in a few milliseconds."""
    started_s = time.perf_counter()
    for agent in (
        b"Mozilla/5.0 (" * 40_000,
        b"Mozilla/5.0 (aaa)" + b"G" * 500_000,
        b"bot" * 200_000,
        b"\xff" * 100_000,
    ):
        judge({b"user-agent": agent})
    assert time.perf_counter() - started_s < 0.5
