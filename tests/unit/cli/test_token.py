"""What a token says, and for how long."""

from __future__ import annotations

from datetime import UTC, datetime

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from publishing.cli.main import app
from publishing.cli.token import MAX_TTL_S, Role, sign
from publishing.runtime.settings import Settings

pytestmark = pytest.mark.unit

SECRET = "a-secret-of-tests-that-has-more-than-32-bytes"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@given(role=st.sampled_from(Role), subject=st.text(min_size=1), ttl_s=st.integers(1, MAX_TTL_S))
def test_a_token_carries_its_claims(role: Role, subject: str, ttl_s: int) -> None:
    """It names subject, role, issuer and audience, begins now and ends after its time to live."""
    settings = Settings(jwt_secret=SECRET, jwt_issuer="https://issuer.example", jwt_audience="tidewire")
    token = sign(settings, role=role, subject=subject, ttl_s=ttl_s, now=NOW)
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], audience="tidewire", options={"verify_exp": False})
    began = int(NOW.timestamp())
    assert claims == {
        "sub": subject,
        "role": role.value,
        "iss": "https://issuer.example",
        "aud": "tidewire",
        "iat": began,
        "nbf": began,
        "exp": began + ttl_s,
    }


def test_the_command_prints_a_token_that_verifies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is accepted now under the installation's secret, issuer and audience."""
    monkeypatch.setenv("TIDEWIRE_JWT_SECRET", SECRET)
    monkeypatch.setenv("TIDEWIRE_JWT_ISSUER", "us")
    monkeypatch.delenv("TIDEWIRE_JWT_AUDIENCE", raising=False)
    answer = CliRunner().invoke(app, ["token", "--role", "admin", "--sub", "ops", "--ttl", "60"])
    assert answer.exit_code == 0
    claims = jwt.decode(answer.stdout.strip(), SECRET, algorithms=["HS256"], audience="tidewire", issuer="us")
    assert (claims["sub"], claims["role"], claims["exp"] - claims["iat"]) == ("ops", "admin", 60)


def test_a_short_secret_signs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret under 256 bits (RFC 7518, section 3.2) ends the command with 2, and is not printed."""
    monkeypatch.setenv("TIDEWIRE_JWT_SECRET", "short")
    monkeypatch.setenv("TIDEWIRE_JWT_ISSUER", "us")
    answer = CliRunner().invoke(app, ["token", "--role", "admin"])
    assert answer.exit_code == 2
    assert "TIDEWIRE_JWT_SECRET" in answer.stderr
    assert "short" not in answer.stderr.replace("shorter", "")
