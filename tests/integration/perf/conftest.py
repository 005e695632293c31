"""The simulators in the test's own event loop, and the readers' front."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from perf.providers.__main__ import build_simulators, parse_arguments
from perf.providers.serving import HOST, serve
from perf.providers.simulator import Times
from publishing.runtime.clock import monotonic_s, now_ms


@dataclass(frozen=True, slots=True)
class Running:
    """The addresses of running simulators and a client for them."""

    urls: dict[str, str]
    client: aiohttp.ClientSession

    async def script(self, name: str, *behaviours: dict[str, Any]) -> None:
        """Replace the script of one simulator."""
        async with self.client.put(f"{self.urls[name]}/_script", json=list(behaviours)) as answer:
            assert answer.status == 200, await answer.text()

    async def acted(self, name: str) -> list[int]:
        """How often each behaviour has acted: the proof that a fault has hit."""
        async with self.client.get(f"{self.urls[name]}/_script") as answer:
            return [behaviour["acted"] for behaviour in await answer.json()]

    async def log(self, name: str, **query: int) -> list[dict[str, Any]]:
        """The rows of one accept log."""
        async with self.client.get(f"{self.urls[name]}/_log", params=query) as answer:
            assert answer.content_type == "application/x-ndjson"
            return [json.loads(line) for line in (await answer.text()).splitlines()]


async def until(holds: Callable[[], Awaitable[bool]], *, seconds: float = 10.0) -> None:
    """Wait for a condition, by polling it until a deadline."""
    deadline_s = monotonic_s() + seconds
    for attempt in itertools.count():
        if await holds():
            return
        assert monotonic_s() < deadline_s, f"still not so after {attempt} looks"
        await asyncio.sleep(0.01)


@pytest.fixture
async def running(request: pytest.FixtureRequest) -> AsyncIterator[Running]:
    """All simulators; a parametrized test gives command-line arguments."""
    arguments = getattr(request, "param", [])
    simulators = build_simulators(parse_arguments(arguments), Times(now_ms=now_ms, monotonic_s=monotonic_s))
    async with aiohttp.ClientSession() as client, serve(simulators) as ports:
        yield Running({name: f"http://{HOST}:{port}" for name, port in ports.items()}, client)
