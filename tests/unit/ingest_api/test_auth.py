"""Tokens: what is refused (fault S5), and which role each route asks for."""

import base64
import json
import time
from typing import Any

import jwt
import pytest

from ingest_api.auth import PREFIX, Principal, Role, TokenRules, authenticate, authorize, is_protected
from ingest_api.problems import ProblemError

pytestmark = pytest.mark.unit

SECRET = "a-secret-of-at-least-thirty-two-bytes!"
RULES = TokenRules(secret=SECRET, issuer="tests", audience="tidewire")
DAY_S = 86_400
# Judged by the real clock, maybe minutes after this module was collected: no case may turn into another meanwhile.
NOW = int(time.time())  # noqa: TID251
CLAIMS = {"sub": "someone", "role": "editor", "iss": "tests", "aud": "tidewire", "iat": NOW, "exp": NOW + 2 * DAY_S}


def token(headers: dict[str, Any] | None = None, *, secret: str = SECRET, alg: str = "HS256", **changes: Any) -> str:
    """A token with changed claims; a change of None leaves the claim out."""
    claims = {name: value for name, value in (CLAIMS | changes).items() if value is not None}
    return jwt.encode(claims, secret, algorithm=alg, headers=headers)


def unsigned(alg: str) -> str:
    """A token without a signature."""
    parts = [{"alg": alg, "typ": "JWT"}, CLAIMS]
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode() for part in parts) + "."


def test_a_valid_token() -> None:
    """A token that has everything speaks for its subject; the scheme's case does not matter."""
    found = authenticate(RULES, f"bearer {token()}")
    assert found == Principal("someone", Role.EDITOR, expires_at_s=NOW + 2 * DAY_S)
    now = int(time.time())  # noqa: TID251
    assert authenticate(RULES, f"Bearer {token(exp=now - 10, nbf=now + 10)}").role is Role.EDITOR


BAD = {
    "no header": "",
    "no scheme": token(),
    "basic": "Basic dXNlcjpwYXNz",
    "empty": "Bearer ",
    "noise": "Bearer a.b.c",
    "none": f"Bearer {unsigned('none')}",
    "nOnE": f"Bearer {unsigned('nOnE')}",
    "HS512": f"Bearer {token(alg='HS512', secret=SECRET * 2)}",
    "HS384": f"Bearer {token(alg='HS384', secret=SECRET * 2)}",
    "other secret": f"Bearer {token(secret='b' * 32)}",
    "flipped": f"Bearer {token()[:-3]}AAA",
    "missing sub": f"Bearer {token(sub=None)}",
    "missing role": f"Bearer {token(role=None)}",
    "missing iss": f"Bearer {token(iss=None)}",
    "missing aud": f"Bearer {token(aud=None)}",
    "missing iat": f"Bearer {token(iat=None)}",
    "missing exp": f"Bearer {token(exp=None)}",
    "expired": f"Bearer {token(exp=NOW - 60)}",
    "far nbf": f"Bearer {token(nbf=NOW + DAY_S)}",
    "far iat": f"Bearer {token(iat=NOW + DAY_S)}",
    "other iss": f"Bearer {token(iss='others')}",
    "other aud": f"Bearer {token(aud='others')}",
    "unknown role": f"Bearer {token(role='root')}",
    "role list": f"Bearer {token(role=['admin'])}",
    "empty sub": f"Bearer {token(sub='')}",
    "long sub": f"Bearer {token(sub='s' * 500)}",
    "NUL in sub": f"Bearer {token(sub=chr(0))}",
    "kid path": f"Bearer {token({'kid': '../../dev/null'})}",
    "kid SQL": f"Bearer {token({'kid': 'x UNION SELECT 1'})}",
    "kid URL": f"Bearer {token({'kid': 'https://example.org/key'})}",
    "foreign kid": f"Bearer {token({'kid': 'other'})}",
    "jku": f"Bearer {token({'jku': 'https://example.org/jwks'})}",
    "x5u": f"Bearer {token({'x5u': 'https://example.org/cert'})}",
    "jwk": f"Bearer {token({'jwk': {'kty': 'oct', 'k': 'AAAA'}})}",
    "crit": f"Bearer {token({'crit': ['exp']})}",
    "huge": f"Bearer {token(padding='x' * 10_000)}",
}


@pytest.mark.parametrize("authorization", list(BAD.values()), ids=list(BAD))
def test_bad_tokens(authorization: str) -> None:
    """Each bad token answers 401, and the answer does not say what was wrong."""
    with pytest.raises(ProblemError) as caught:
        authenticate(RULES, authorization)
    assert caught.value.status == 401
    assert "WWW-Authenticate" in caught.value.headers
    assert caught.value.errors == ()


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize(
    ("method", "path", "needed"),
    [
        ("GET", "/subscribers/1", Role.READER),
        ("GET", "/channels", Role.READER),
        ("POST", "/subscribers", Role.EDITOR),
        ("POST", "/content", Role.EDITOR),
        ("POST", "/publications", Role.EDITOR),
        ("DELETE", "/subscribers/1", Role.EDITOR),
        ("POST", "/channels", Role.ADMIN),
        ("POST", "/channels/3/test", Role.ADMIN),
    ],
)
def test_roles(role: Role, method: str, path: str, needed: Role) -> None:
    """A role may do what it and the roles below it may, and nothing above."""
    principal = Principal("someone", role)
    if role >= needed:
        authorize(principal, method=method, path=PREFIX + path)
        return
    with pytest.raises(ProblemError) as caught:
        authorize(principal, method=method, path=PREFIX + path)
    assert caught.value.status == 403


def test_what_is_protected() -> None:
    """Everything under the prefix asks for a token, but the feeds; nothing else does."""
    for path in ("", "/", "/subscribers", "/openapi.json", "/unknown", "/feedsx/1.rss"):
        assert is_protected(PREFIX + path)
    for path in (f"{PREFIX}/feeds/1.rss", "/health", "/metrics", "/"):
        assert not is_protected(path)
