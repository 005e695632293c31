"""The simulated readers between the SES simulator and a tracking front."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import aioboto3
import pytest
from aiohttp import web

from perf.readers.habit import hash_of
from tests.integration.perf.conftest import Running, until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
MAILS = 60


@dataclass(slots=True)
class Front:
    """A tracking front that remembers what it was asked; `fails` makes it answer 503."""

    url: str = ""
    fails: bool = False
    hits: list[tuple[str, str, str]] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        """A pixel, a redirect or a plain answer, by the path."""
        body = await request.text()
        self.hits.append((request.method, request.path, body))
        assert "Mozilla/5.0" in request.headers["User-Agent"]
        if self.fails:
            return web.Response(status=503)
        if request.path.startswith("/c/"):
            return web.Response(status=302, headers={"Location": f"{self.url}/never"})
        return web.Response(body=b"GIF89a")

    def count(self, prefix: str) -> int:
        """How many requests had a path of this prefix."""
        return sum(path.startswith(prefix) for _, path, _ in self.hits)


@pytest.fixture
async def front() -> AsyncIterator[Front]:
    """A running front."""
    made = Front()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield made
    await runner.cleanup()


async def send_mails(running: Running, public_url: str, count: int = MAILS) -> None:
    """Send so many tracked mails by bulk calls of twenty."""
    html = (
        '<a href="{{front}}/c/honeypot/{{n}}" style="display:none">x</a><a href="{{front}}/c/one/{{n}}">1</a>'
        '<a href="{{front}}/c/two/{{n}}">2</a><img src="{{front}}/o/{{n}}.gif">'
    )
    session = aioboto3.Session(aws_access_key_id="AKIDEXAMPLE", aws_secret_access_key="s", region_name="eu-west-1")
    async with session.client("sesv2", endpoint_url=running.urls["ses"]) as client:
        for first in range(0, count, 20):
            entries = [entry(number, public_url) for number in range(first, min(first + 20, count))]
            await client.send_bulk_email(
                FromEmailAddress="news@example.org",
                DefaultContent={"Template": {"TemplateContent": {"Subject": "s", "Html": html}, "TemplateData": "{}"}},
                BulkEmailEntries=entries,
            )


def entry(number: int, public_url: str) -> dict[str, Any]:
    """One recipient's entry."""
    data = json.dumps({"n": number, "front": public_url})
    return {
        "Destination": {"ToAddresses": [f"reader{number}@example.org"]},
        "ReplacementEmailContent": {"ReplacementTemplate": {"ReplacementTemplateData": data}},
        "ReplacementTags": [{"Name": "delivery", "Value": f"1-1-{number}"}],
        "ReplacementHeaders": [
            {"Name": "List-Unsubscribe", "Value": f"<{public_url}/u/{number}>"},
            {"Name": "List-Unsubscribe-Post", "Value": "List-Unsubscribe=One-Click"},
        ],
    }


async def start_readers(running: Running, log: Path, *arguments: str) -> asyncio.subprocess.Process:
    """The readers as a process of their own."""
    command = [sys.executable, "-m", "perf.readers", "--ses-url", running.urls["ses"], "--log", str(log), *arguments]
    return await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)


async def summary_of(readers: asyncio.subprocess.Process) -> dict[str, int]:
    """The summary that readers print when they end."""
    output, _ = await asyncio.wait_for(readers.communicate(), 60)
    assert readers.returncode == 0
    summary: dict[str, int] = json.loads(output)
    return summary


def lines_of(log: Path) -> list[dict[str, Any]]:
    """The hits in the readers' log."""
    return [json.loads(line) for line in log.read_text().splitlines()]


async def test_what_readers_report_is_what_the_front_saw(running: Running, front: Front, tmp_path: Path) -> None:
    """Counts, log and front agree; hidden links and redirects are never followed, and no address is in the log."""
    await send_mails(running, front.url)
    log = tmp_path / "readers.ndjson"
    ratios = ("--seed", "3", "--open-ratio", "0.6", "--click-ratio", "0.3", "--unsubscribe-ratio", "0.1")
    summary = await summary_of(await start_readers(running, log, *ratios, "--settle", "0.6"))
    lines = lines_of(log)
    assert summary["mails"] == MAILS
    assert 0 < summary["clicked"] < summary["opened"] < MAILS
    for kind, prefix in (("opened", "/o/"), ("clicked", "/c/"), ("unsubscribed", "/u/")):
        assert summary[kind] == front.count(prefix) == sum(line["kind"] == kind for line in lines)
        assert summary[kind] > 0
    assert (summary["refused"], front.count("/c/honeypot"), front.count("/never")) == (0, 0, 0)
    assert {method for method, _, _ in front.hits} == {"GET", "POST"}
    assert {body for method, _, body in front.hits if method == "POST"} == {"List-Unsubscribe=One-Click"}
    assert all(line["answered"] and line["status"] in (200, 302) for line in lines)
    assert "@example.org" not in log.read_text()
    assert {line["to_hash"] for line in lines} <= {hash_of(f"reader{number}@example.org") for number in range(MAILS)}


async def test_a_second_run_of_a_seed_does_the_same(running: Running, front: Front, tmp_path: Path) -> None:
    """The same mails and seed give the same hits; another seed gives others."""
    await send_mails(running, front.url, 30)
    seen = []
    for seed in ("1", "1", "2"):
        front.hits.clear()
        log = tmp_path / "readers.ndjson"
        await summary_of(await start_readers(running, log, "--seed", seed, "--settle", "0.5"))
        seen.append(sorted(front.hits))
    assert seen[0] == seen[1]
    assert seen[0] != seen[2]


async def test_refused_hits_are_counted_apart(running: Running, front: Front, tmp_path: Path) -> None:
    """A 503 is answered but refused; with `--front-url` the mails' public host is never asked."""
    front.fails = True
    await send_mails(running, "https://news.invalid", 5)
    log = tmp_path / "readers.ndjson"
    every = ("--open-ratio", "1", "--click-ratio", "1", "--front-url", front.url, "--settle", "0.5")
    summary = await summary_of(await start_readers(running, log, *every))
    assert (summary["mails"], summary["refused"], summary["opened"]) == (5, 10, 0)
    assert {(line["status"], line["answered"]) for line in lines_of(log)} == {(503, True)}


async def test_an_unreachable_front_is_unanswered(running: Running, tmp_path: Path) -> None:
    """A hit without an answer is in the log as such."""
    await send_mails(running, "http://127.0.0.1:1", 2)
    log = tmp_path / "readers.ndjson"
    summary = await summary_of(await start_readers(running, log, "--open-ratio", "1", "--settle", "0.5"))
    assert summary["refused"] >= 2
    assert {(line["status"], line["answered"]) for line in lines_of(log)} == {(None, False)}


async def test_readers_follow_until_sigterm(running: Running, front: Front, tmp_path: Path) -> None:
    """Without `--settle` mails that come later are read too; SIGTERM ends with the summary."""
    log = tmp_path / "readers.ndjson"
    readers = await start_readers(running, log, "--open-ratio", "1", "--click-ratio", "0", "--max-delay", "0.2")
    try:
        for wanted in (10, 20):
            await send_mails(running, front.url, 10)
            await until(partial(front_has, front, wanted))
    finally:
        os.kill(readers.pid, signal.SIGTERM)
    summary = await summary_of(readers)
    assert (summary["mails"], summary["opened"], summary["clicked"]) == (20, 20, 0)


async def front_has(front: Front, opened: int) -> bool:
    """Whether so many pixels were fetched."""
    return front.count("/o/") == opened
