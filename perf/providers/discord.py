"""A Discord server with webhooks, as https://discord.com/developers/docs/resources/webhook describes them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

from perf.providers.discord_checks import check, errors_of
from perf.providers.exchange import Answer, Headers, Request, parse_json
from perf.providers.journal import Journal
from perf.providers.pacing import Pacer
from perf.providers.script import Behaviour
from perf.providers.simulator import Submission

_WEBHOOK = re.compile(r"/api(?:/v\d+)?/webhooks/(?P<id>\d+)/(?P<token>[A-Za-z0-9_-]+)(?:/messages/(?P<message>\d+))?")
# The first second of 2015 in epoch ms: https://discord.com/developers/docs/reference#snowflakes
_EPOCH_MS = 1_420_070_400_000
_UNKNOWN_WEBHOOK = {"message": "Unknown Webhook", "code": 10015}
_UNKNOWN_MESSAGE = {"message": "Unknown Message", "code": 10008}


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A checked execution of a webhook."""

    path: str
    webhook: str
    payload: dict[str, Any]
    waits: bool


@dataclass(slots=True, kw_only=True)
class Discord:
    """Webhooks in buckets of `limit` executions in `window_s` seconds each; a client learns both from the headers.

    Source: https://discord.com/developers/docs/topics/rate-limits (limits are not to be hard-coded).
    """

    journal: Journal = field(default_factory=Journal)
    limit: int = 50
    window_s: float = 1.0
    name: str = "discord"
    max_body_bytes: int = 1024 * 1024
    fact_names: frozenset[str] = frozenset({"content", "webhook"})
    _pacer: Pacer = field(init=False)
    _sent: int = 0
    _now_ms: int = 0
    _rate_headers: Headers = ()

    def __post_init__(self) -> None:
        self._pacer = Pacer(self.limit / self.window_s, burst=float(self.limit))

    def read(self, request: Request, *, now_ms: int) -> Submission | Answer:
        """Check an execution as Discord does; `GET` shows the webhook or one of its messages."""
        self._now_ms = now_ms
        path = _WEBHOOK.fullmatch(request.path)
        if path is None:
            return Answer.json(404, _UNKNOWN_WEBHOOK)
        if request.method == "GET":
            return self._show(path["id"], path["message"])
        if request.method != "POST" or path["message"]:
            return Answer.json(405, {"message": "405: Method Not Allowed", "code": 0})
        try:
            payload = parse_json(request.body)
        except ValueError:
            payload = None
        refusal = check(payload)
        if refusal is not None:
            return Answer.json(refusal.status, errors_of(refusal))
        waits = request.query.get("wait", "").lower() == "true"
        facts = {"content": payload.get("content") or "", "webhook": path["id"]}
        return Submission(
            facts=facts, content=Execution(path=request.path, webhook=path["id"], payload=payload, waits=waits)
        )

    def admit(self, submission: Submission, *, now_s: float) -> Answer | None:
        """Throttle a webhook whose bucket is empty."""
        webhook = submission.content.webhook
        taken = self._pacer.take(webhook, 1, now_s=now_s)
        wait_s = self._pacer.wait_s(webhook, now_s=now_s)
        remaining = self._pacer.remaining(webhook, now_s=now_s)
        self._rate_headers = self._headers(webhook, remaining, wait_s)
        return None if taken else self._refuse(wait_s, self._rate_headers)

    def accept(self, submission: Submission, *, now_ms: int, behaviour: Behaviour | None) -> Answer:
        """Log the message and answer it with its id, or nothing without `wait=true`."""
        del behaviour
        execution: Execution = submission.content
        self._sent += 1
        message_id = str(((now_ms - _EPOCH_MS) << 22) + (self._sent & 0x3FFFFF))
        message = _message(message_id, execution)
        fields = {"path": execution.path, "webhook": execution.webhook, "payload": execution.payload}
        self.journal.append(fields, now_ms=now_ms, message_id=message_id)
        if not execution.waits:
            return Answer(status=204, headers=self._rate_headers)
        return Answer.json(200, message, headers=self._rate_headers)

    def throttle(self, *, seconds: float) -> Answer:
        """Return Discord's 429 of the bucket, with `retry_after` in float seconds."""
        return self._refuse(seconds, self._headers("scripted", 0, seconds))

    def control(self, request: Request) -> Answer | None:
        """Answer no route of its own."""
        del request
        return None

    def _headers(self, webhook: str, remaining: int, reset_after_s: float) -> Headers:
        return (
            ("x-ratelimit-limit", str(self.limit)),
            ("x-ratelimit-remaining", str(remaining)),
            ("x-ratelimit-reset", f"{self._now_ms / 1000 + reset_after_s:.3f}"),
            ("x-ratelimit-reset-after", f"{reset_after_s:.3f}"),
            ("x-ratelimit-bucket", f"webhook-{webhook}"),
        )

    def _refuse(self, retry_after_s: float, headers: Headers) -> Answer:
        body = {"message": "You are being rate limited.", "retry_after": round(retry_after_s, 3), "global": False}
        extra = (("retry-after", f"{retry_after_s:.3f}"), ("x-ratelimit-scope", "user"))
        return Answer.json(429, body, headers=(*headers, *extra))

    def _show(self, webhook: str, message_id: str | None) -> Answer:
        if message_id is None:
            return Answer.json(200, {"id": webhook, "type": 1, "name": "simulated"})
        for line in self.journal.lines():
            row = parse_json(line)
            if row["message_id"] == message_id and row["webhook"] == webhook:
                execution = Execution(path=row["path"], webhook=webhook, payload=row["payload"], waits=True)
                return Answer.json(200, _message(message_id, execution))
        return Answer.json(404, _UNKNOWN_MESSAGE)


def _message(message_id: str, execution: Execution) -> dict[str, Any]:
    return {
        "id": message_id,
        "type": 0,
        "webhook_id": execution.webhook,
        "content": execution.payload.get("content") or "",
        "embeds": execution.payload.get("embeds") or [],
        "mentions": [],
        "mention_everyone": False,
    }
