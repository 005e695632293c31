"""The edge's time: an answer must begin in time, and what has begun is not cut off."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from ingest_api import edge
from ingest_api.auth import TokenRules
from ingest_api.edge import Edge
from ingest_api.problems import ProblemError

pytestmark = pytest.mark.unit

RULES = TokenRules(secret="a secret of tests that is longer than thirty-two bytes", issuer="tests", audience="tidewire")


async def ask(application: Any, *, method: str = "GET", body: bytes = b"", path: str = "/livez") -> tuple[int, bytes]:
    """Ask an application behind the edge; returns the status and the body."""
    sent: list[Any] = []
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return pending.pop() if pending else await asyncio.Event().wait()

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": method, "path": path, "headers": []}
    await Edge(application, RULES)(scope, receive, send)
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:])


def streaming(*, pause_s: float, first_s: float = 0) -> Callable[..., Any]:
    """An application that begins after a while, and says something twice with a pause in between."""

    async def application(_: Any, __: Any, send: Any) -> None:
        await asyncio.sleep(first_s)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"one", "more_body": True})
        await asyncio.sleep(pause_s)
        await send({"type": "http.response.body", "body": b"two"})

    return application


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge, "READ_WAIT_S", 0.1)


async def test_a_stream_is_not_cut_off() -> None:
    """An answer that began in time may go on for longer than a read may take."""
    assert await ask(streaming(pause_s=0.4)) == (200, b"onetwo")


async def test_an_answer_that_does_not_begin_is_a_503() -> None:
    """An application that says nothing in time is given up."""
    status, _ = await ask(streaming(pause_s=0, first_s=0.4))
    assert status == 503


async def test_deep_json_is_a_400() -> None:
    """JSON of too many levels is refused before the application has it; the problem names the limit."""

    async def application(*_: Any) -> None:
        pytest.fail("the application was asked")

    status, body = await ask(application, method="POST", body=b"[" * 65)
    assert status == 400
    assert "64 levels" in json.loads(body)["detail"]


async def test_a_problem_is_answered_as_it_is() -> None:
    """A problem that leaves the application before its answer has begun is what the client gets."""

    async def application(*_: Any) -> None:
        raise ProblemError(409, "It is so already.")

    status, body = await ask(application)
    assert (status, json.loads(body)["detail"]) == (409, "It is so already.")


async def test_what_the_application_makes_of_its_end_is_not_answered() -> None:
    """An error or an answer of an application that was given up is neither a 500 nor anything else but the 503."""

    async def failing(*_: Any) -> None:
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError as error:
            raise RuntimeError from error

    async def answering(_: Any, __: Any, send: Any) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"late"})

    for application in (failing, answering):
        status, body = await ask(application)
        assert (status, json.loads(body)["status"]) == (503, 503)
