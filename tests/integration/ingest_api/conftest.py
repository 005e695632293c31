"""A real uvicorn over the real broker and database, and what its tests ask with."""

import asyncio
import dataclasses
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import jwt
import pytest
import uvicorn
from aiokafka import AIOKafkaConsumer, TopicPartition

from ingest_api.app import create_app
from publishing.runtime.producer import full_name
from publishing.runtime.settings import Settings
from topics.catalog import CONTENT_SUBMITTED, ENGAGEMENT_RECORDED
from topics.model import Topic

PREFIX = "/api/v1/publishing"


def make_token(settings: Settings, role: str = "admin", **changes: Any) -> str:
    """A token of a role; a change of None leaves the claim out."""
    now = int(time.time())  # noqa: TID251  - tokens are judged by the real clock
    claims = {"sub": "tests", "role": role, "iss": settings.jwt_issuer, "aud": settings.jwt_audience}
    claims |= {"iat": now, "exp": now + 600} | changes
    assert settings.jwt_secret is not None
    present = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(present, settings.jwt_secret.get_secret_value(), algorithm="HS256")


@dataclasses.dataclass(slots=True)
class Api:
    """The address of a server that runs, with clients of each role."""

    port: int
    settings: Settings
    client: httpx.AsyncClient

    def bearer(self, role: str = "admin", **changes: Any) -> dict[str, str]:
        """The header of a role."""
        return {"Authorization": f"Bearer {make_token(self.settings, role, **changes)}"}

    async def post(self, path: str, body: Any, *, role: str = "admin", **headers: str) -> httpx.Response:
        """Post JSON, or bytes as they are."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        sent = self.bearer(role) | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.post(f"{PREFIX}{path}", headers=sent, **content)

    async def get(self, path: str, *, role: str = "reader", **headers: str) -> httpx.Response:
        """Get a management route."""
        sent = self.bearer(role) | {name.replace("_", "-"): value for name, value in headers.items()}
        return await self.client.get(f"{PREFIX}{path}", headers=sent)


async def serve(settings: Settings) -> AsyncIterator[Api]:
    """Run a server until the caller is done."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(create_app(settings), loop="none", http="httptools", ws="none", log_config=None)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(15):
        while not server.started:  # noqa: ASYNC110  - uvicorn has a flag, not an event
            await asyncio.sleep(0.01)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as client:
        yield Api(port, settings, client)
    server.should_exit = True
    async with asyncio.timeout(15):
        await task


@pytest.fixture
async def api(settings: Settings, make_topics: Callable[..., Awaitable[None]]) -> AsyncIterator[Api]:
    """A server with its topics."""
    await make_topics(CONTENT_SUBMITTED, ENGAGEMENT_RECORDED)
    async for one in serve(settings):
        yield one


@pytest.fixture
async def bare_api(settings: Settings) -> AsyncIterator[Api]:
    """A server of tests that need no topic."""
    async for one in serve(settings):
        yield one


@pytest.fixture
def records(settings: Settings) -> Callable[..., Awaitable[list[Any]]]:
    """Read a topic until `count` records have come, or all that it holds; at most 10 s."""

    async def read(topic: Topic, count: int | None = None) -> list[Any]:
        consumer = AIOKafkaConsumer(bootstrap_servers=settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            name = full_name(settings, topic)
            partitions = range(topic.partition_count(settings.audience_shards))
            places = [TopicPartition(name, one) for one in partitions]
            consumer.assign(places)
            wanted = count or sum((await consumer.end_offsets(places)).values())
            found: list[Any] = []
            async with asyncio.timeout(10):
                while len(found) < wanted:
                    for batch in (await consumer.getmany(timeout_ms=200)).values():
                        found.extend(batch)
            return found
        finally:
            await consumer.stop()

    return read
