"""Owns the dashboard's session: a token of the API in a cookie that no script can read and no other site can send."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from ingest_api.auth import PREFIX, Principal, TokenRules, authenticate
from ingest_api.problems import ProblemError

COOKIE: Final = "tidewire_session"
FORM_FIELD: Final = "token"
LIVE_PATH: Final = f"{PREFIX}/live"
# A request that a browser made for another site is refused; older browsers and programs send no such header.
_OUR_SITES: Final = frozenset({"", "same-origin", "none"})


def credential(headers: Mapping[bytes, bytes], path: str) -> str:
    """Return the Authorization header to check; a browser's event stream can send none, so there the cookie stands."""
    given = headers.get(b"authorization", b"").decode("latin-1")
    if given or path != LIVE_PATH:
        return given
    token = token_in(headers.get(b"cookie", b"").decode("latin-1"))
    return f"Bearer {token}" if token else ""


def token_in(cookies: str) -> str:
    """Find the session's token in a Cookie header, or nothing."""
    for pair in cookies.split(";"):
        name, _, value = pair.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def principal_in(cookies: str, rules: TokenRules) -> Principal | None:
    """Return whom the session speaks for, or None when there is none that is valid."""
    try:
        return authenticate(rules, f"Bearer {token_in(cookies)}")
    except ProblemError:
        return None


def token_of(form: bytes) -> str:
    """Read the token of the sign-in form; people paste it with the word Bearer, quotes and line ends."""
    fields = parse_qs(form.decode("utf-8", "replace"), max_num_fields=10)
    text = "".join(fields.get(FORM_FIELD, [""])[0].split())
    return text.removeprefix("Bearer").strip("\"'")


def cookie_of(token: str, *, max_age_s: int, is_secure: bool) -> str:
    """Spell the cookie of a session that lives as long as its token."""
    secure = "; Secure" if is_secure else ""
    return f"{COOKIE}={token}; Max-Age={max(0, max_age_s)}; Path=/; HttpOnly; SameSite=Strict{secure}"


def is_from_elsewhere(fetch_site: str) -> bool:
    """Whether another site made the browser send this (Fetch Metadata, header Sec-Fetch-Site)."""
    return fetch_site not in _OUR_SITES
