"""The part that every simulated provider shares: one raw ASGI app with its log, its script and its accounts."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from perf.providers import script as scripts
from perf.providers.exchange import (
    Answer,
    BodyTooLargeError,
    ClientGoneError,
    Receive,
    Request,
    Scope,
    Send,
    parse_json,
    read_request,
    send_answer,
)
from perf.providers.journal import Journal
from perf.providers.script import Behaviour, Script, ScriptError, parse_script

RESET_EXTENSION = "tidewire.reset"
LOG_PAGE_ROWS = 1000
DEFAULT_RETRY_AFTER_S = 1.0
DEFAULT_SLOW_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """A payload that passed the provider's checks: the facts a script matches, and what `accept` logs."""

    facts: Mapping[str, str]
    content: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """The two clocks of a simulator: epoch milliseconds for the log, monotonic seconds for pacing."""

    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]


class Provider(Protocol):
    """What one provider adds to the shared simulator."""

    name: str
    max_body_bytes: int
    fact_names: frozenset[str]
    journal: Journal

    def read(self, request: Request, *, now_ms: int) -> Submission | Answer:
        """Check a request as the provider does; an Answer is a refusal or the answer to a question."""

    def admit(self, submission: Submission, *, now_s: float) -> Answer | None:
        """Return the provider's own throttle answer, or None when its rate allows the submission."""

    def accept(self, submission: Submission, *, now_ms: int, behaviour: Behaviour | None) -> Answer:
        """Log what was submitted, then return the answer to it."""

    def throttle(self, *, seconds: float) -> Answer:
        """Return the answer of an overloaded provider that asks to come back in `seconds`."""

    def control(self, request: Request) -> Answer | None:
        """Answer the simulator's own routes of this provider, or None when there is no such route."""


@dataclass(slots=True)
class Simulator:
    """The ASGI app around a provider."""

    provider: Provider
    times: Times
    script: Script = field(default_factory=Script)
    counts: Counter[str] = field(default_factory=Counter)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        try:
            request = await read_request(scope, receive, max_body_bytes=self.provider.max_body_bytes)
        except BodyTooLargeError:
            await send_answer(send, Answer.text(413, "body too large"), closes=True)
            return
        except ClientGoneError:
            return
        if request.path == "/_log" and request.method == "GET":
            await self._send_log(request, send)
        elif request.path.startswith("/_"):
            await send_answer(send, self._control(request))
        else:
            await self._serve(request, _Connection(scope=scope, receive=receive, send=send))

    async def _serve(self, request: Request, connection: _Connection) -> None:
        outcome = self.provider.read(request, now_ms=self.times.now_ms())
        facts = outcome.facts if isinstance(outcome, Submission) else {}
        behaviour = self.script.choose(request, facts)
        if behaviour is not None and behaviour.form in (scripts.STATUS, scripts.THROTTLE, scripts.HANG):
            accepts = behaviour.form == scripts.STATUS and behaviour.status < 300
            if not (accepts and isinstance(outcome, Submission)):
                await self._fail(behaviour, connection)
                return
        answer = self._decide(outcome, behaviour)
        if behaviour is None or not answer.is_success:
            await send_answer(connection.send, answer)
        elif behaviour.form == scripts.RESET:
            self.counts["reset"] += 1
            await connection.reset()
        else:
            if behaviour.form == scripts.SLOW:
                delay_s = DEFAULT_SLOW_S if behaviour.seconds is None else behaviour.seconds
                await connection.wait(delay_s, self.closing)
            await send_answer(connection.send, _scripted(behaviour, answer))

    def _decide(self, outcome: Submission | Answer, behaviour: Behaviour | None) -> Answer:
        if isinstance(outcome, Answer):
            self.counts["answered" if outcome.is_success else "refused"] += 1
            return outcome
        throttled = self.provider.admit(outcome, now_s=self.times.monotonic_s())
        if throttled is not None:
            self.counts["throttled"] += 1
            return throttled
        self.counts["accepted"] += 1
        return self.provider.accept(outcome, now_ms=self.times.now_ms(), behaviour=behaviour)

    async def _fail(self, behaviour: Behaviour, connection: _Connection) -> None:
        self.counts[f"scripted_{behaviour.form}"] += 1
        if behaviour.form == scripts.HANG:
            await connection.wait(behaviour.seconds, self.closing)
            await connection.reset()
            return
        answer = Answer.text(behaviour.status, "")
        if behaviour.form == scripts.THROTTLE:
            seconds = DEFAULT_RETRY_AFTER_S if behaviour.seconds is None else behaviour.seconds
            answer = self.provider.throttle(seconds=seconds)
        await send_answer(connection.send, _scripted(behaviour, answer))

    def _control(self, request: Request) -> Answer:
        route = (request.method, request.path)
        if route == ("DELETE", "/_log"):
            self.provider.journal.clear()
            return Answer(status=204)
        if route == ("PUT", "/_script"):
            try:
                behaviours = parse_script(parse_json(request.body), self.provider.fact_names)
            except ValueError as error:
                reason = str(error) if isinstance(error, ScriptError) else "the script is not JSON"
                return Answer.json(422, {"error": reason})
            self.script = Script(behaviours)
            return Answer.json(200, {"behaviours": len(behaviours)})
        if route == ("GET", "/_script"):
            return Answer.json(200, [behaviour.report() for behaviour in self.script.behaviours])
        if route == ("GET", "/_stats"):
            journal = self.provider.journal
            return Answer.json(
                200, {**self.counts, "logged": len(journal), "seq": journal.seq, "dropped": journal.dropped}
            )
        return self.provider.control(request) or Answer.json(404, {"error": "no such route of the simulator"})

    async def _send_log(self, request: Request, send: Send) -> None:
        """Stream the log in pages, so that a long one neither blocks the loop nor is built in memory."""
        try:
            since = int(request.query.get("since", "0"))
            limit = int(request.query["limit"]) if "limit" in request.query else None
        except ValueError:
            await send_answer(send, Answer.json(400, {"error": "since and limit are whole numbers"}))
            return
        journal = self.provider.journal
        last = journal.seq
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/x-ndjson"), (b"x-last-seq", str(last).encode())],
            }
        )
        while since < last and (limit is None or limit > 0):
            rows = LOG_PAGE_ROWS if limit is None else min(limit, LOG_PAGE_ROWS)
            page = list(journal.lines(since=since, limit=rows))
            if not page:
                break
            since = _seq_of(page[-1])
            limit = None if limit is None else limit - len(page)
            await send({"type": "http.response.body", "body": b"".join(page), "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    scope: Scope
    receive: Receive
    send: Send

    async def wait(self, seconds: float | None, closing: asyncio.Event) -> None:
        """Hold the request for `seconds` (None: without end), until its client leaves or the simulator closes."""
        waits = [asyncio.ensure_future(self._disconnected()), asyncio.ensure_future(closing.wait())]
        try:
            await asyncio.wait(waits, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def reset(self) -> None:
        """End the TCP connection by RST, unanswered, and return once it is gone."""
        self.scope["extensions"][RESET_EXTENSION]()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._disconnected(), 5.0)

    async def _disconnected(self) -> None:
        while (await self.receive())["type"] != "http.disconnect":
            pass


def _seq_of(line: bytes) -> int:
    return int(parse_json(line)["seq"])


def _scripted(behaviour: Behaviour, answer: Answer) -> Answer:
    """Return the answer with the status, body and headers that the script puts in place of the provider's."""
    replaced = {name.lower() for name, _ in behaviour.headers}
    kept = tuple((name, value) for name, value in answer.headers if name.lower() not in replaced)
    return Answer(
        status=behaviour.status if behaviour.form == scripts.STATUS else answer.status,
        body=answer.body if behaviour.body is None else behaviour.body.encode(),
        headers=(*kept, *behaviour.headers),
    )
