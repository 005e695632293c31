"""A browser, a server with a week of figures behind it, and a page that is signed in."""

import asyncio
import dataclasses
import datetime as dt
import socket
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import jwt
import pytest
import uvicorn

from ingest_api.app import create_app
from ingest_api.serve import Server
from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from tests.pages import chromium
from tests.pages.chromium import Page
from tests.pages.seeds import seed

SHOTS = Path(__file__).parents[2] / "build" / "pages"


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The DevTools of a browser that all tests of a session share."""
    binary = chromium.executable()
    if binary is None:
        pytest.skip(f"no Chromium on this machine: none of {', '.join(chromium.NAMES)} is in the path")
    with chromium.running(binary, tmp_path_factory.mktemp("chromium")) as address:
        yield address


@pytest.fixture
async def page(browser: str) -> AsyncIterator[Page]:
    """A page with no cookies."""
    async with Page.opened(browser) as opened:
        yield opened


@dataclasses.dataclass(frozen=True, slots=True)
class House:
    """A server with its figures."""

    url: str
    settings: Settings
    now: dt.datetime

    def token(self, role: str = "reader", **changes: Any) -> str:
        """A token as `tidewire token` signs it."""
        now = int(time.time())  # noqa: TID251  - tokens are judged by the real clock
        claims = {"sub": "tests", "role": role, "iss": self.settings.jwt_issuer, "aud": self.settings.jwt_audience}
        assert self.settings.jwt_secret is not None
        secret = self.settings.jwt_secret.get_secret_value()
        return jwt.encode(claims | {"iat": now, "exp": now + 600} | changes, secret, algorithm="HS256")


async def serving(settings: Settings) -> AsyncIterator[str]:
    """Run the API until the test is done."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        create_app(settings), loop="none", http="httptools", ws="none", log_config=None, timeout_graceful_shutdown=3
    )
    server = Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    async with asyncio.timeout(20):
        while not server.started:  # noqa: ASYNC110  - uvicorn has a flag, not an event
            await asyncio.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    async with asyncio.timeout(20):
        await task


@pytest.fixture
async def house(browser: str, settings: Settings, pool: asyncpg.Pool) -> AsyncIterator[House]:
    """A server over a seeded database; it needs the browser first, so that nothing is made where there is none."""
    now = utc_now()
    await seed(pool, now)
    async for url in serving(settings):
        yield House(url, settings, now)


@pytest.fixture
async def signed_in(page: Page, house: House) -> Page:
    """A page of the dashboard, signed in by the form."""
    await page.look(width=1440)
    await sign_in(page, house.url, house.token())
    return page


async def sign_in(page: Page, url: str, token: str) -> None:
    """Sign in as a person does."""
    await page.go(f"{url}/dashboard")
    await page.evaluate("document.getElementById('token').focus()")
    await page.send("Input.insertText", text=token)
    await page.press("Enter")
    await page.until("document.getElementById('panels')")
