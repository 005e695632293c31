"""Families of user agents: what real names stand for, and that no name costs much."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.agents import AGENTS, MAX_AGENT_CHARS, MAX_CACHED, Agent, agent_of
from schemas.messages import AgentFamily, NetworkClass

pytestmark = pytest.mark.unit

CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
)
GOOGLE_PROXY = "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)"


@pytest.mark.parametrize(
    ("name", "family", "network"),
    [
        ("Mozilla/5.0", "image_proxy", "private"),
        (GOOGLE_PROXY, "image_proxy", "proxy"),
        ("YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html", "image_proxy", "proxy"),
        (CHROME + " Barracuda Sentinel (EE)", "bot", "gateway"),
        ("Mozilla/5.0 (compatible; Mimecast URL Protect)", "bot", "gateway"),
        ("Mozilla/5.0 (compatible; Proofpoint-TAP)", "bot", "gateway"),
        ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "bot", "unknown"),
        ("Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "bot", "unknown"),
        ("facebookexternalhit/1.1", "bot", "unknown"),
        (
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/120.0",
            "bot",
            "unknown",
        ),
        ("curl/8.5.0", "script", "unknown"),
        ("python-requests/2.32", "script", "unknown"),
        ("Go-http-client/2.0", "script", "unknown"),
        ("", "script", "unknown"),
        ("   ", "script", "unknown"),
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.5", "mail_client", "unknown"),
        ("Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0)", "mail_client", "unknown"),
        (CHROME, "browser", "unknown"),
        ("Opera/9.80 (X11; Linux) Presto/2.12", "browser", "unknown"),
        ("Mozilla/4.0", "unknown", "unknown"),
        ("Scrivener of nothing", "unknown", "unknown"),
    ],
)
def test_names_have_a_family(name: str, family: str, network: str) -> None:
    """Each name is of the first family whose pattern it holds."""
    assert agent_of(name.encode()) == Agent(AgentFamily(family), NetworkClass(network))


@given(st.binary(max_size=MAX_AGENT_CHARS))
def test_any_bytes_have_a_family(name: bytes) -> None:
    """No name is too strange to be put into a family."""
    assert isinstance(agent_of(name), Agent)


@pytest.mark.parametrize("part", ["Mozilla/5.0 (", "Gecko", "Mozilla/5.0 (aaa)", "bo", "( ", "curl", "Trident" * 2])
def test_patterns_are_linear(part: str) -> None:
    """A name of the greatest length that almost fits a pattern costs each of them less than 10 ms."""
    name = (part * MAX_AGENT_CHARS)[:MAX_AGENT_CHARS]
    for family in AGENTS:
        start_s = time.process_time()
        family.pattern.search(name)
        assert time.process_time() - start_s < 0.01


def test_what_is_known_of_names_is_bounded() -> None:
    """A client that makes up a name each time does not fill the memory."""
    for number in range(MAX_CACHED + 50):
        agent_of(b"made up %d" % number)
    assert agent_of.cache_info().currsize <= MAX_CACHED
