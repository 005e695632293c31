"""The whole ASGI application without any service, and the clients of its tests."""

import base64
import dataclasses
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from ingest_api.auth import TokenRules
from ingest_api.collector import Collector
from ingest_api.edge import Edge
from ingest_api.front import Front
from ingest_api.management import management_api
from ingest_api.resources import Resources
from publishing.runtime.settings import Settings
from tests.fakes.durables import AwayDurable, KeepingDurable

SECRET = "contract-tests-secret-of-thirty-two-bytes"
NOW_MS = 1_770_000_000_000


@dataclasses.dataclass(slots=True)
class Stranded:
    """An application whose broker, database and cache are away; hits go to a durable of the test's."""

    settings: Settings
    resources: Resources
    client: httpx.AsyncClient
    kept: KeepingDurable

    def lose_broker(self) -> None:
        """From now on nothing is durable."""
        self.resources.collector = collector(AwayDurable())

    def bearer(self, role: str = "admin") -> dict[str, str]:
        """The header of a role."""
        now = int(time.time())  # noqa: TID251  - tokens are judged by the real clock
        claims = {"sub": "tests", "role": role, "iss": "tests", "aud": "tidewire", "iat": now, "exp": now + 300}
        return {"Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"}


def collector(durable: Any) -> Collector:
    """A collector of four shards on a durable."""
    return Collector(durable, shards=4, recorded_by="tests", clock_ms=lambda: NOW_MS, linger_s=0.001)


@pytest.fixture
def stranded_settings() -> Settings:
    """Settings of services at ports where nobody listens."""
    return Settings(
        kafka_bootstrap_servers="127.0.0.1:1",
        database_url="postgresql://nobody@127.0.0.1:1/none",
        redis_url="redis://127.0.0.1:1/0",
        audience_shards=4,
        jwt_secret=SECRET,
        jwt_issuer="tests",
        tracking_keys="t1:" + base64.b64encode(bytes(range(32))).decode(),
        seal_keys="s1:" + base64.b64encode(bytes(range(32, 64))).decode(),
    )


@pytest.fixture
async def stranded(stranded_settings: Settings) -> AsyncIterator[Stranded]:
    """The application, with a route that fails."""
    resources = Resources(stranded_settings)
    kept = KeepingDurable()
    resources.collector = collector(kept)
    api = management_api(resources)

    @api.get("/fails")
    async def fails() -> None:
        raise RuntimeError("canary@example.org")

    rules = TokenRules(secret=SECRET, issuer="tests", audience="tidewire")
    app = Front(Edge(api, rules), resources)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield Stranded(stranded_settings, resources, client, kept)
