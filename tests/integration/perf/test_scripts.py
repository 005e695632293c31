"""Every behaviour of a script over a real connection, and the routes that all simulators share."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import sys
from pathlib import Path

import aiohttp
import pytest

from publishing.runtime.clock import monotonic_s
from tests.integration.perf.conftest import Running, until

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]
HOOK = "/services/T0/B0/x"
POST_SLACK = (
    b"POST /services/T0/B0/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b'Content-Length: 12\r\n\r\n{"text":"t"}'
)


async def post(running: Running, path: str = HOOK, *, timeout_s: float = 5.0) -> aiohttp.ClientResponse:
    """One answered post to the Slack simulator."""
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    answer = await running.client.post(running.urls["slack"] + path, json={"text": "t"}, timeout=timeout)
    await answer.read()
    return answer


async def raw_socket_outcome(running: Running) -> bytes | type[Exception]:
    """What a bare client gets: the bytes until the end of the stream, or the error that ended it."""
    host, port = running.urls["slack"].removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(POST_SLACK)
        await writer.drain()
        return await asyncio.wait_for(reader.read(), 5.0)
    except ConnectionResetError as error:
        return type(error)
    finally:
        writer.close()


async def logged(running: Running, rows: int) -> bool:
    """Whether the Slack log has so many rows."""
    return len(await running.log("slack")) == rows


async def hung(running: Running) -> bool:
    """Whether the second behaviour of the Slack script has acted."""
    return (await running.acted("slack"))[1] == 1


async def test_reset_after_accept_is_a_tcp_reset_of_a_logged_message(running: Running) -> None:
    """The client sees RST, neither an answer nor an orderly end, and the message is in the log."""
    await running.script("slack", {"do": "reset_after_accept", "match": {"text": "t"}})
    assert await raw_socket_outcome(running) is ConnectionResetError
    assert len(await running.log("slack")) == 1
    assert await running.acted("slack") == [1]


async def test_reset_after_accept_answers_what_is_not_acceptable(running: Running) -> None:
    """A refused message is not accepted, so it is not reset either."""
    await running.script("slack", {"do": "reset_after_accept"})
    async with running.client.post(running.urls["slack"] + HOOK, json={}) as answer:
        assert (answer.status, await answer.text()) == (400, "no_text")
    assert await running.log("slack") == []


async def test_status_answers_without_accepting(running: Running) -> None:
    """Status, body and headers are the script's, and nothing is logged; afterwards all is well again."""
    behaviour = {"do": "status", "status": 503, "body": "later", "headers": {"Retry-After": "120"}, "times": 1}
    await running.script("slack", behaviour)
    answer = await post(running)
    assert (answer.status, await answer.text(), answer.headers["Retry-After"]) == (503, "later", "120")
    assert (await post(running)).status == 200
    assert len(await running.log("slack")) == 1


async def test_a_status_of_success_accepts(running: Running) -> None:
    """A 2xx by script is an acceptance: logged, then answered as scripted."""
    await running.script("slack", {"do": "status", "status": 202, "body": "taken"})
    answer = await post(running)
    assert (answer.status, await answer.text()) == (202, "taken")
    assert len(await running.log("slack")) == 1


@pytest.mark.parametrize(("seconds", "wanted"), [(7, "7"), (None, "1")])
async def test_throttle_is_the_provider_s_own_429(running: Running, seconds: int | None, wanted: str) -> None:
    """`seconds` is the Retry-After, and a header of the script replaces the provider's."""
    timed = {} if seconds is None else {"seconds": seconds}
    await running.script(
        "slack",
        {"do": "throttle", **timed, "times": 1},
        {"do": "throttle", "headers": {"Retry-After": "Fri, 31 Dec 2099 23:59:59 GMT"}, "times": 1},
    )
    answers = [await post(running) for _ in range(2)]
    assert [answer.status for answer in answers] == [429, 429]
    assert [answer.headers.getall("Retry-After") for answer in answers] == [
        [wanted],
        ["Fri, 31 Dec 2099 23:59:59 GMT"],
    ]
    assert await running.log("slack") == []


@pytest.mark.parametrize(("name", "path"), [("discord", "/api/webhooks/4/t"), ("webhook", "/hook/a")])
async def test_each_provider_throttles_in_its_own_form(running: Running, name: str, path: str) -> None:
    """Discord says retry_after in its body, a webhook receiver says Retry-After."""
    await running.script(name, {"do": "throttle", "seconds": 3})
    async with running.client.post(running.urls[name] + path, json={"content": "c"}) as answer:
        assert answer.status == 429
        assert float(answer.headers["Retry-After"]) == 3
        assert (await answer.json()).get("retry_after", 3) == 3


async def test_hang_holds_the_request_without_accepting(running: Running) -> None:
    """The client runs into its own timeout, and nothing is logged."""
    await running.script("slack", {"do": "hang", "times": 1})
    with pytest.raises(TimeoutError):
        await post(running, timeout_s=0.3)
    assert (await post(running)).status == 200
    assert len(await running.log("slack")) == 1


async def test_hang_for_seconds_ends_by_a_reset(running: Running) -> None:
    """A hang with an end closes the connection without an answer."""
    await running.script("slack", {"do": "hang", "seconds": 0.2})
    started_s = monotonic_s()
    assert await raw_socket_outcome(running) is ConnectionResetError
    assert monotonic_s() - started_s >= 0.2
    assert await running.log("slack") == []


async def test_slow_accepts_first_and_answers_later(running: Running) -> None:
    """The message is in the log while its client still waits; a client that gave up has sent it all the same."""
    await running.script("slack", {"do": "slow", "seconds": 0.5})
    sending = asyncio.create_task(post(running))
    await until(lambda: logged(running, 1))
    assert not sending.done()
    assert (await sending).status == 200
    with pytest.raises(TimeoutError):
        await post(running, timeout_s=0.2)
    assert len(await running.log("slack")) == 2


async def test_ok_shields_one_path_from_the_rest_of_the_script(running: Running) -> None:
    """The first behaviour that acts decides."""
    await running.script(
        "slack", {"do": "ok", "match": {"path": "/B0/"}}, {"do": "status", "status": 410, "body": "no_service"}
    )
    assert (await post(running)).status == 200
    assert (await post(running, "/services/T0/B1/x")).status == 410


async def test_a_misspelt_script_changes_nothing(running: Running) -> None:
    """An unknown name is 422 with the reason, and the script before stays in force."""
    await running.script("slack", {"do": "status", "status": 500})
    for wrong in ([{"do": "reset"}], [{"do": "ok", "match": {"too": "x"}}]):
        async with running.client.put(running.urls["slack"] + "/_script", json=wrong) as answer:
            assert answer.status == 422
            assert (await answer.json())["error"]
    async with running.client.put(running.urls["slack"] + "/_script", data=b"[") as answer:
        assert (await answer.json())["error"] == "the script is not JSON"
    assert (await post(running)).status == 500


async def test_the_log_is_paged_cleared_and_counted(running: Running) -> None:
    """`since` and `limit` page through more rows than one page; DELETE forgets them and the numbers go on."""
    for _ in range(4):
        await post(running)
    assert [row["seq"] for row in await running.log("slack", since=1, limit=2)] == [2, 3]
    async with running.client.delete(running.urls["slack"] + "/_log") as answer:
        assert answer.status == 204
    assert await running.log("slack") == []
    await post(running)
    assert [row["seq"] for row in await running.log("slack")] == [5]
    async with running.client.get(running.urls["slack"] + "/_stats") as answer:
        assert await answer.json() == {"accepted": 5, "logged": 1, "seq": 5, "dropped": 0}
    for path, status in (("/_log?since=x", 400), ("/_nothing", 404)):
        async with running.client.get(running.urls["slack"] + path) as answer:
            assert answer.status == status


async def test_a_log_of_several_pages_comes_whole(running: Running) -> None:
    """More rows than one page are streamed in order."""
    gate = asyncio.Semaphore(20)

    async def one() -> None:
        async with gate:
            await post(running, timeout_s=30)

    await asyncio.gather(*(one() for _ in range(1_050)))
    assert [row["seq"] for row in await running.log("slack")] == list(range(1, 1_051))
    assert len(await running.log("slack", limit=1_020)) == 1_020


async def test_a_body_beyond_the_cap_is_not_read(running: Running) -> None:
    """More than a megabyte for Slack is 413."""
    async with running.client.post(running.urls["slack"] + HOOK, data=io.BytesIO(b"x" * 1_100_000)) as answer:
        assert answer.status == 413


async def test_the_command_prints_its_ports_and_ends_on_sigterm() -> None:
    """One JSON line, then service until SIGTERM, also while a request hangs; the exit status is 0."""
    command = [sys.executable, "-m", "perf.providers"]
    running = await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdout=asyncio.subprocess.PIPE)
    try:
        assert running.stdout is not None
        line = await asyncio.wait_for(running.stdout.readline(), 20)
        ports = json.loads(line)
        assert ports["pid"] == running.pid
        assert set(ports["urls"]) == {"ses", "slack", "discord", "webhook"}
        async with aiohttp.ClientSession() as client:
            here = Running(ports["urls"], client)
            await here.script("slack", {"do": "reset_after_accept", "times": 1}, {"do": "hang"})
            assert await raw_socket_outcome(here) is ConnectionResetError
            assert len(await here.log("slack")) == 1
            hanging = asyncio.create_task(raw_socket_outcome(here))
            await until(lambda: hung(here))
            os.kill(running.pid, signal.SIGTERM)
            assert await hanging is ConnectionResetError
    finally:
        if running.returncode is None:
            os.kill(running.pid, signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 15) == 0
