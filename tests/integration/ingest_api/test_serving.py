"""The API as a process: links without any service, and an orderly end under load."""

import asyncio
import contextlib
import json
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest

from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.runtime.settings import Settings
from schemas.frames import decode_frame
from tests.conftest import child_environment
from topics.catalog import CONTENT_SUBMITTED, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

NUMBERS = {"run_id": 77, "publication_id": 12, "channel_id": 3}
ARTICLE = {"run_id": 77, "content_id": 9, "link": 2, "url": "https://example.org/a"}


@contextlib.asynccontextmanager
async def api_running(
    settings: Settings,
) -> AsyncIterator[tuple[asyncio.subprocess.Process, httpx.AsyncClient, list[str]]]:
    """Run the API as a process until the test is done; gives it, a client, and its log so far."""
    lines: list[str] = []
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "ingest_api.serve", env=child_environment(settings), stderr=asyncio.subprocess.PIPE
    )
    port = asyncio.get_running_loop().create_future()

    async def read() -> None:
        assert child.stderr is not None
        async for line in child.stderr:
            lines.append(line.decode())
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                if entry.get("event") == "api.listening":
                    port.set_result(entry["port"])

    reading = asyncio.create_task(read())
    try:
        async with asyncio.timeout(60):
            base_url = f"http://127.0.0.1:{await port}"
            async with httpx.AsyncClient(base_url=base_url, timeout=20) as client:
                while True:
                    with contextlib.suppress(httpx.TransportError):
                        await client.get("/livez", timeout=1)
                        break
                    await asyncio.sleep(0.05)
                yield child, client, lines
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
        await reading


async def test_links_without_any_service(settings: Settings) -> None:
    """With broker, database and cache away a click is redirected, and an unsubscription asks to come again."""
    away = {"kafka_bootstrap_servers": "127.0.0.1:1", "database_url": "postgresql://a@127.0.0.1:1/a"}
    stranded = settings.model_copy(update=away | {"redis_url": "redis://127.0.0.1:1/0"})
    ring = settings.tracking
    clicked = sign_reader(ring, purpose=Purpose.CLICK, **NUMBERS, destination=41)
    leaving = sign_reader(ring, purpose=Purpose.UNSUBSCRIBE, **NUMBERS, destination=41)
    async with api_running(stranded) as (child, client, lines):
        answer = await client.get(f"/c/{sign_article(ring, **ARTICLE)}/{clicked}")  # type: ignore[arg-type]
        assert (answer.status_code, answer.headers["location"]) == (302, "https://example.org/a")
        left = await client.post(f"/u/{leaving}", data={"List-Unsubscribe": "One-Click"})
        assert left.status_code == 503
        assert (await client.get("/readyz")).status_code == 503
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await child.wait()
    log = "".join(lines)
    assert clicked not in log
    assert leaving not in log


async def test_every_answered_hit_is_kept(
    settings: Settings, make_topics: Callable[..., Awaitable[None]], records: Any
) -> None:
    """A SIGTERM in the middle of hits ends the process in order, and every hit that was answered is in the topic."""
    await make_topics(CONTENT_SUBMITTED, ENGAGEMENT_RECORDED)
    ring = settings.tracking
    answered: list[int] = []
    enough = asyncio.Event()

    async def hits(client: httpx.AsyncClient, first: int) -> None:
        for destination in range(first, first + 200):
            token = sign_reader(ring, purpose=Purpose.OPEN, **NUMBERS, destination=destination)
            try:
                answer = await client.get(f"/o/{token}.gif")
            except httpx.TransportError:
                return
            if answer.status_code == 200:
                answered.append(destination)
            if len(answered) >= 100:
                enough.set()

    async with api_running(settings) as (child, client, _):
        load = [asyncio.create_task(hits(client, 1 + 1_000 * number)) for number in range(8)]
        async with asyncio.timeout(30):
            await enough.wait()
        child.send_signal(signal.SIGTERM)
        async with asyncio.timeout(15):
            await asyncio.gather(*load)
            await child.wait()
    found: set[int] = set()
    for record in await records(ENGAGEMENT_RECORDED):
        found.update(decode_frame(record.value).events["destination"].tolist())
    assert 100 <= len(answered) < 1_600
    assert set(answered) <= found
