"""Owns who may do what: the checks of a bearer token, and the role that each management route asks for."""

import dataclasses
import enum
from typing import Self

import jwt

from ingest_api.problems import ProblemError
from publishing.runtime.settings import Settings

# RFC 8725 section 3.1: the algorithm is chosen here, never by the token.
ALGORITHM = "HS256"
REQUIRED_CLAIMS = ("sub", "role", "iss", "aud", "iat", "exp")
LEEWAY_S = 30
MAX_TOKEN_CHARS = 8_192
MAX_SUBJECT_CHARS = 200

PREFIX = "/api/v1/publishing"
# Read without a token: feeds are for feed readers.
OPEN_PREFIX = f"{PREFIX}/feeds/"


class Role(enum.IntEnum):
    """The roles of tokens, each of which includes those below it."""

    READER = 1
    EDITOR = 2
    APPROVER = 3
    ADMIN = 4


@dataclasses.dataclass(frozen=True, slots=True)
class Principal:
    """Whom a valid token speaks for, and until when (Unix seconds)."""

    subject: str
    role: Role
    expires_at_s: int = 0

    @property
    def role_name(self) -> str:
        """The role as tokens spell it."""
        return self.role.name.lower()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must have been signed with, and for whom."""

    secret: str
    issuer: str
    audience: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Read the rules from the settings; load_settings has made sure that they are set."""
        assert settings.jwt_issuer is not None
        secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
        return cls(secret=secret, issuer=settings.jwt_issuer, audience=settings.jwt_audience)


def authenticate(rules: TokenRules, authorization: str) -> Principal:
    """Read an Authorization header; raises a 401 problem that does not say which check failed."""
    scheme, _, token = authorization.partition(" ")
    token = token.strip()
    if scheme.lower() != "bearer" or not 0 < len(token) <= MAX_TOKEN_CHARS:
        raise _unauthorized()
    try:
        header = jwt.get_unverified_header(token)
        # There is one key: a token that names another (kid, jku, x5u, jwk) or asks for more (crit) is not for us.
        if set(header) - {"alg", "typ"} or header.get("alg") != ALGORITHM:
            raise _unauthorized()
        claims = jwt.decode(
            token,
            rules.secret,
            algorithms=[ALGORITHM],
            issuer=rules.issuer,
            audience=rules.audience,
            leeway=LEEWAY_S,
            options={"require": list(REQUIRED_CLAIMS)},
        )
        subject, role = claims["sub"], claims["role"]
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT_CHARS or "\x00" in subject:
            raise _unauthorized()
        return Principal(subject, _ROLES[role], int(claims["exp"]))
    except (jwt.PyJWTError, KeyError, TypeError, ValueError, RecursionError, OverflowError) as error:
        raise _unauthorized() from error


def is_protected(path: str) -> bool:
    """Whether a path is for those with a token: all of the prefix but the feeds."""
    return (path == PREFIX or path.startswith(f"{PREFIX}/")) and not path.startswith(OPEN_PREFIX)


def authorize(principal: Principal, *, method: str, path: str) -> None:
    """Raise a 403 problem unless the role is enough: a channel's write asks for admin, others for editor."""
    is_channels = path.removeprefix(PREFIX).split("/")[1:2] == ["channels"]
    needed = Role.READER if method in {"GET", "HEAD"} else Role.ADMIN if is_channels else Role.EDITOR
    if principal.role < needed:
        raise ProblemError(403, f"This needs the role {needed.name.lower()}.")


def _unauthorized() -> ProblemError:
    return ProblemError(
        401,
        "A valid bearer token is needed: HS256, with sub, role, iss, aud, iat and exp.",
        headers={"WWW-Authenticate": 'Bearer error="invalid_token"'},
    )


_ROLES = {role.name.lower(): role for role in Role}
