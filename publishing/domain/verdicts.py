"""Owns the verdict on a hit: which family of agent made it, from which class of network, and whether a human did."""

import dataclasses
import re
from collections.abc import Mapping

from schemas.messages import AgentFamily, NetworkClass, Verdict

# Only the beginning is read: every pattern below is linear in it.
MAX_AGENT_CHARS = 512

# Flags of EngagementRecorded: bit 0 is the id's; the others are evidence.
FLAG_PREFETCH = 2

# https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Purpose and its forerunners.
_PREFETCH_HEADERS = (b"sec-purpose", b"purpose", b"x-purpose", b"x-moz")
_PREFETCH = re.compile(rb"prefetch|prerender|preview", re.IGNORECASE)

_GATEWAY = re.compile(r"safelinks|mimecast|proofpoint|barracuda|fireeye|symantec|trend ?micro", re.IGNORECASE)
_READER_PROXY = re.compile(r"GoogleImageProxy|YahooMailProxy|YahooCacheSystem", re.IGNORECASE)
_BOT = re.compile(
    r"bot\b|bot/|crawl|spider|slurp|facebookexternalhit|whatsapp|telegram|discord|preview|scan|monitor|headless",
    re.IGNORECASE,
)
_SCRIPT = re.compile(
    r"^(?:curl|wget|python|go-http-client|java|okhttp|libwww|ruby|perl|php|node|axios|httpx|aiohttp|powershell)\b",
    re.IGNORECASE,
)
_MAIL_CLIENT = re.compile(r"thunderbird|outlook|applemail|airmail|mailspring|k-9|evolution|lotus-notes", re.IGNORECASE)
_BROWSER = re.compile(r"Mozilla/5\.0 \([^)]{3,}\).{0,300}?(?:Gecko|AppleWebKit|Trident)|^Opera/", re.IGNORECASE)
# Apple Mail Privacy Protection fetches every image on its own, under exactly this name.
_PRIVACY_PROXY = "Mozilla/5.0"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict with the number of the rule that gave it, and what the rule went by."""

    verdict: Verdict
    rule: int
    agent: AgentFamily
    network: NetworkClass
    flags: int = 0


_UNKNOWN_NETWORK = NetworkClass("unknown")
_MACHINE, _HUMAN, _UNDECIDED = Verdict("machine"), Verdict("human"), Verdict("unknown")


def judge(headers: Mapping[bytes, bytes]) -> Judgement:
    """Judge a hit by its headers (lower-case names); the first rule that applies decides, and its number is kept.

    1 prefetch header, 2 security gateway, 3 a reader's image proxy, 4 privacy proxy, 5 bot, 6 script or no agent,
    7 mail client, 8 browser, 9 none of these.
    """
    agent = headers.get(b"user-agent", b"")[:MAX_AGENT_CHARS].decode("latin-1").strip()
    if any(_PREFETCH.search(headers.get(name, b"")[:MAX_AGENT_CHARS]) for name in _PREFETCH_HEADERS):
        family = _by_agent(agent).agent
        return Judgement(verdict=_MACHINE, rule=1, agent=family, network=_UNKNOWN_NETWORK, flags=FLAG_PREFETCH)
    return _by_agent(agent)


def _by_agent(agent: str) -> Judgement:
    if agent == _PRIVACY_PROXY:
        return _judgement(_MACHINE, 4, "image_proxy", "proxy")
    if not agent:
        return _judgement(_MACHINE, 6, "script")
    for pattern, judgement in _BY_PATTERN:
        if pattern.search(agent):
            return judgement
    return _judgement(_UNDECIDED, 9, "unknown")


def _judgement(verdict: Verdict, rule: int, agent: str, network: str = "unknown") -> Judgement:
    return Judgement(verdict=verdict, rule=rule, agent=AgentFamily(agent), network=NetworkClass(network))


# In the order of the rules; a reader's proxy fetches when the reader opens: to call it a machine would lose most of
# Gmail's readers.
_BY_PATTERN = (
    (_GATEWAY, _judgement(_MACHINE, 2, "bot", "gateway")),
    (_READER_PROXY, _judgement(_HUMAN, 3, "image_proxy", "proxy")),
    (_BOT, _judgement(_MACHINE, 5, "bot")),
    (_SCRIPT, _judgement(_MACHINE, 6, "script")),
    (_MAIL_CLIENT, _judgement(_HUMAN, 7, "mail_client")),
    (_BROWSER, _judgement(_HUMAN, 8, "browser")),
)
