"""Owns `tidewire token`: signs a token for the management API with the installation's secret."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final

import jwt
import typer

from publishing.runtime.clock import utc_now

if TYPE_CHECKING:
    from publishing.runtime.settings import Settings

MAX_TTL_S: Final = 31 * 24 * 3600


class Role(StrEnum):
    """What a caller may do: each role may do all that the ones before it may."""

    READER = "reader"
    EDITOR = "editor"
    APPROVER = "approver"
    ADMIN = "admin"


def sign(settings: Settings, *, role: Role, subject: str, ttl_s: int, now: datetime) -> str:
    """A JWT (HS256) with sub, role, iss, aud, iat, nbf and exp (RFC 7519), valid from now for `ttl_s` seconds."""
    assert settings.jwt_secret is not None
    claims = {
        "sub": subject,
        "role": role.value,
        "iss": settings.jwt_issuer,
        "aud": settings.jwt_audience,
        "iat": now,
        "nbf": now,
        "exp": now + timedelta(seconds=ttl_s),
    }
    return jwt.encode(claims, settings.jwt_secret.get_secret_value(), algorithm="HS256")


def token(
    *,
    role: Annotated[Role, typer.Option(help="What the bearer may do.")],
    sub: Annotated[str, typer.Option(help="Who the bearer is; written to the audit.")] = "cli",
    ttl: Annotated[int, typer.Option(min=1, max=MAX_TTL_S, help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for the management API, for `Authorization: Bearer`."""
    from publishing.runtime.settings import load_settings

    settings = load_settings("jwt_secret", "jwt_issuer")
    typer.echo(sign(settings, role=role, subject=sub, ttl_s=ttl, now=utc_now()))
