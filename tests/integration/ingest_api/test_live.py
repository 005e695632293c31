"""Live hints over HTTP: from the cache to every client, with a token or the dashboard's session, until SIGTERM."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator

import httpx
import pytest

from ingest_api.edge import READ_WAIT_S
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import announce_suppression, live_channel, open_valkey
from tests.integration.ingest_api.conftest import PREFIX, Api, make_token
from tests.integration.ingest_api.test_serving import api_running

pytestmark = pytest.mark.integration

LIVE = f"{PREFIX}/live"
HINT = {"publications": [1, 2], "watermark_ms": 1_770_000_000_000, "events": 400, "lag": 3}


async def events_of(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, object]]]:
    """The events of a stream, without comments."""
    name = ""
    async for line in response.aiter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


async def connected(events: AsyncIterator[tuple[str, dict[str, object]]]) -> None:
    """Wait until the stream says that the cache is up."""
    async with asyncio.timeout(10):
        async for event in events:
            if event == ("state", {"cache": "up"}):
                return


async def test_a_hint_reaches_every_client_over_one_subscription(bare_api: Api, settings: Settings) -> None:
    """A bearer and a session both get it; the process holds one subscription; an old Last-Event-ID is harmless."""
    cookie = {"Cookie": f"tidewire_session={make_token(settings, 'reader')}", "Last-Event-ID": "77"}
    async with (
        bare_api.client.stream("GET", LIVE, headers=bare_api.bearer("reader")) as first,
        bare_api.client.stream("GET", LIVE, headers=cookie) as second,
        open_valkey(settings) as valkey,
    ):
        assert first.headers["content-type"].startswith("text/event-stream")
        assert first.headers["cache-control"] == "no-store"
        streams = [events_of(first), events_of(second)]
        for events in streams:
            await connected(events)
        await asyncio.sleep(READ_WAIT_S + 0.5)  # what answers in time is not cut off later
        assert await valkey.publish(live_channel(settings), json.dumps(HINT)) == 1
        assert await announce_suppression(valkey, settings, 5, "channel:1")
        async with asyncio.timeout(5):
            for events in streams:
                assert await anext(events) == ("windows", HINT)
                assert await anext(events) == ("suppressed", {"destination": 5, "scope": "channel:1"})


async def test_nobody_listens_without_a_valid_token(bare_api: Api) -> None:
    """No token, a wrong cookie, and a cookie on another path are all 401."""
    wrong = {"Cookie": "tidewire_session=nonsense"}
    right = {"Cookie": f"tidewire_session={make_token(bare_api.settings, 'admin')}"}
    for path, headers in ((LIVE, {}), (LIVE, wrong), (f"{PREFIX}/channels", right)):
        assert (await bare_api.client.get(path, headers=headers)).status_code == 401


async def test_a_stopping_server_ends_open_streams_at_once(settings: Settings) -> None:
    """SIGTERM with open streams ends the process within four seconds, far below its grace of eight."""
    async with api_running(settings) as (child, client, _):
        headers = {"Authorization": f"Bearer {make_token(settings, 'reader')}"}
        async with client.stream("GET", LIVE, headers=headers) as response:
            events = events_of(response)
            await connected(events)
            started_s = asyncio.get_running_loop().time()
            child.send_signal(signal.SIGTERM)
            async with asyncio.timeout(6):
                assert [event async for event in events] == []
                assert await child.wait() in {0, -signal.SIGTERM}
            assert asyncio.get_running_loop().time() - started_s < 4
