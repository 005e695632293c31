"""The front without any service, for attacks on its links."""

import base64
import dataclasses
from collections.abc import Callable

import httpx
import pytest

from ingest_api.collector import Collector
from ingest_api.front import Front, Receive, Scope, Send
from ingest_api.resources import Resources
from publishing.domain.keys import KeyRing
from publishing.runtime.settings import Settings
from schemas.frames import KINDS, decode_frame
from tests.fakes.durables import KeepingDurable

NOW_MS = 1_770_000_000_000


@dataclasses.dataclass(slots=True)
class Target:
    """A front to attack, and what it kept."""

    client: httpx.AsyncClient
    ring: KeyRing
    kept: KeepingDurable

    def kinds(self) -> list[str]:
        """The kinds of the events that were kept."""
        return [KINDS[row["kind"]].value for _, frame in self.kept.frames for row in decode_frame(frame).events]


MakeTarget = Callable[..., Target]


async def nothing(scope: Scope, receive: Receive, send: Send) -> None:
    """An application without routes."""
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def make_target() -> MakeTarget:
    """Make a front over a durable that keeps, the product's own or a mutant of it; no service is there."""

    def make(front: type[Front] = Front) -> Target:
        settings = Settings(
            kafka_bootstrap_servers="127.0.0.1:1",
            database_url="postgresql://nobody@127.0.0.1:1/none",
            redis_url="redis://127.0.0.1:1/0",
            audience_shards=4,
            tracking_keys="t2:" + base64.b64encode(bytes(32)).decode() + ",t1:" + base64.b64encode(b"1" * 32).decode(),
            seal_keys="s1:" + base64.b64encode(bytes(range(32, 64))).decode(),
        )
        resources, kept = Resources(settings), KeepingDurable()
        resources.collector = Collector(kept, shards=4, recorded_by="t", clock_ms=lambda: NOW_MS, linger_s=0.001)
        transport = httpx.ASGITransport(front(nothing, resources))
        client = httpx.AsyncClient(transport=transport, base_url="http://testserver")
        return Target(client, settings.tracking, kept)

    return make
