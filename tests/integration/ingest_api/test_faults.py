"""What the API does when receivers, rows and tables do not do what they should."""

import asyncio
import base64
import json
import time
from typing import Any

import asyncpg
import pytest
from aiohttp import web

from tests.integration.ingest_api.test_subscribers import assert_gapless

pytestmark = pytest.mark.integration


async def test_a_channel_is_tested(bare_api: Any, pool: asyncpg.Pool) -> None:
    """A webhook gets one marked sample, and what it answered is kept as the channel's validation."""
    got: list[dict[str, Any]] = []
    answers = [200, 410]

    async def receive(request: web.Request) -> web.Response:
        got.append({"id": request.headers["webhook-id"], "body": await request.text()})
        return web.Response(status=answers[len(got) - 1])

    application = web.Application()
    application.add_routes([web.post("/hook", receive)])
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    secret = "whsec_" + base64.b64encode(bytes(32)).decode()
    config = {"url": f"http://127.0.0.1:{runner.addresses[0][1]}/hook", "secret": secret}
    channel = (await bare_api.post("/channels", {"kind": "webhook", "name": "w", "config": config})).json()
    assert channel["validation"]["status"] == "untested"
    assert got == []
    tested = (await bare_api.post(f"/channels/{channel['id']}/test", {})).json()
    assert tested["validation"] == {"status": "ok", "detail": "the sample was accepted"}
    failed = (await bare_api.post(f"/channels/{channel['id']}/test", {})).json()
    assert failed["validation"]["status"] == "failed"
    await runner.cleanup()
    assert all("Test message from Tidewire" in one["body"] for one in got)
    assert got[0]["id"].startswith(f"dlv_0_{channel['id']}_")
    shown = (await bare_api.get(f"/channels/{channel['id']}")).json()
    assert shown["validation"]["status"] == "failed"
    actions = await pool.fetch("SELECT action, change FROM publishing_audit ORDER BY id")
    assert [row["action"] for row in actions] == ["create", "test", "test"]
    assert secret not in json.dumps([row["change"] for row in actions])


async def test_bulks_in_opposite_order(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Bulks that write the same rows in opposite orders at once all succeed, and lose no change number (fault R9)."""
    lines = [json.dumps({"email": f"r{number}@example.org"}) for number in range(400)]
    bodies = ["\n".join(lines).encode(), "\n".join(reversed(lines)).encode()] * 3
    answers = await asyncio.gather(*(bare_api.post("/subscribers/bulk", body) for body in bodies))
    assert {answer.status_code for answer in answers} == {200}
    assert sum(answer.json()["created"] for answer in answers) == 400
    assert sum(answer.json()["updated"] for answer in answers) == 2_000
    await assert_gapless(pool, 2_400)


async def test_a_hanging_database_costs_two_seconds(bare_api: Any, pool: asyncpg.Pool) -> None:
    """While a table is locked a read answers 503 within 3 s, and reads again when the lock is gone (fault R7)."""
    made = (await bare_api.post("/subscribers", {"external_id": "a"})).json()
    async with pool.acquire() as connection, connection.transaction():
        await connection.execute("LOCK TABLE publishing_subscribers IN ACCESS EXCLUSIVE MODE")
        started_s = time.perf_counter()
        answer = await bare_api.get(f"/subscribers/{made['id']}")
        seconds = time.perf_counter() - started_s
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert seconds < 3
    assert (await bare_api.get(f"/subscribers/{made['id']}")).status_code == 200
