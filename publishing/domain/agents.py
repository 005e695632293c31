"""Owns the families of user agents, as a table: who a name stands for, and which network it gives away."""

import re
from functools import lru_cache
from typing import Final, NamedTuple

from schemas.messages import AgentFamily, NetworkClass

# Only the beginning is read: every pattern below is linear in it.
MAX_AGENT_CHARS: Final = 512
# A few hundred names make up nearly all traffic; 4,096 of at most 512 bytes are 2 MB.
MAX_CACHED: Final = 4_096

_UNKNOWN = NetworkClass.UNKNOWN


class Agent(NamedTuple):
    """A family, and the network that only this agent comes from (unknown: it comes from anywhere)."""

    family: AgentFamily
    network: NetworkClass = _UNKNOWN


class _Family(NamedTuple):
    """One row of the table: the first whose pattern is found names the agent."""

    agent: Agent
    pattern: re.Pattern[str]


def _row(pattern: str, family: AgentFamily, network: NetworkClass = _UNKNOWN) -> _Family:
    return _Family(Agent(family, network), re.compile(pattern, re.IGNORECASE | re.ASCII))


AGENTS: Final = (
    # Apple Mail Privacy Protection fetches every image by itself, under exactly this name, whether or not it is read:
    # https://support.apple.com/guide/iphone/use-mail-privacy-protection-iphf084865c7/ios
    _row(r"^Mozilla/5\.0$", AgentFamily.IMAGE_PROXY, NetworkClass.PRIVATE),
    # Gateways open every link of a letter before its reader does.
    _row(
        r"safelinks|mimecast|proofpoint|barracuda|fireeye|trellix|symantec|forcepoint|ironport|zscaler|fortimail|"
        r"trend ?micro|messagelabs|cloudmark|sophos|microsoft-?defender|office365.?scan",
        AgentFamily.BOT,
        NetworkClass.GATEWAY,
    ),
    # A reader's own mail service fetches images when the letter is opened: https://support.google.com/mail/answer/145919
    _row(r"GoogleImageProxy|YahooMailProxy|YahooCacheSystem", AgentFamily.IMAGE_PROXY, NetworkClass.PROXY),
    # https://developers.google.com/search/docs/crawling-indexing/overview-google-crawlers and the like; previews of
    # links in chats name the chat.
    _row(
        r"bot\b|bot/|crawl|spider|slurp|facebookexternalhit|whatsapp|telegram|discord|skypeuripreview|preview|scan|"
        r"monitor|headless|lighthouse|phantomjs|archiver|validator|link.?check",
        AgentFamily.BOT,
    ),
    _row(
        r"^(?:curl|wget|python|go-http-client|java|okhttp|libwww|ruby|perl|php|node|axios|httpx|aiohttp|powershell|"
        r"guzzle|apache-httpclient|dart|rust|reqwest|undici|got)\b",
        AgentFamily.SCRIPT,
    ),
    _row(
        r"thunderbird|outlook|microsoft office|applemail|airmail|mailspring|k-9|evolution|lotus-notes|spark/|postbox|"
        r"em ?client|mailmate|geary|kmail|fairemail|samsung ?email",
        AgentFamily.MAIL_CLIENT,
    ),
    _row(r"^Mozilla/5\.0 \([^)]{3,}\).{0,300}?(?:Gecko|AppleWebKit|Trident)|^Opera/", AgentFamily.BROWSER),
)
_NOBODY = Agent(AgentFamily.SCRIPT)
_STRANGER = Agent(AgentFamily.UNKNOWN)


@lru_cache(maxsize=MAX_CACHED)
def agent_of(header: bytes) -> Agent:
    """Return the agent of a User-Agent header, at most 512 bytes of it; who gives no name is a script."""
    name = header.decode("latin-1").strip()
    if not name:
        return _NOBODY
    return next((family.agent for family in AGENTS if family.pattern.search(name)), _STRANGER)
