"""A Slack workspace with incoming webhooks, as https://api.slack.com/messaging/webhooks describes them."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from perf.providers.exchange import Answer, Request, parse_json
from perf.providers.journal import Journal
from perf.providers.pacing import Pacer
from perf.providers.script import Behaviour
from perf.providers.simulator import Submission
from perf.providers.slack_checks import check

_WEBHOOK = re.compile(r"/services/T[A-Za-z0-9_-]*/B[A-Za-z0-9_-]*/[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Post:
    """A checked message and the webhook that it came by."""

    path: str
    payload: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Slack:
    """Incoming webhooks; `per_second` is the limit of each (Slack's is 1; 0 = not enforced).

    Source: https://api.slack.com/apis/rate-limits (one message a second for each incoming webhook, short bursts).
    """

    journal: Journal = field(default_factory=Journal)
    per_second: float = 0.0
    name: str = "slack"
    max_body_bytes: int = 1024 * 1024
    fact_names: frozenset[str] = frozenset({"text"})
    _pacer: Pacer = field(init=False)

    def __post_init__(self) -> None:
        self._pacer = Pacer(self.per_second)

    def read(self, request: Request, *, now_ms: int) -> Submission | Answer:
        """Check a post as Slack does; the answer to a refused one is the bare error."""
        del now_ms
        if _WEBHOOK.fullmatch(request.path) is None:
            return Answer.text(404, "no_service")
        if request.method != "POST":
            return Answer.text(405, "method_not_allowed")
        if not request.headers.get("content-type", "").startswith("application/json"):
            return Answer.text(400, "invalid_payload")
        try:
            payload = parse_json(request.body)
        except ValueError:
            return Answer.text(400, "invalid_payload")
        refusal = check(payload)
        if refusal is not None:
            detail = (("x-simulator-reason", refusal.message),) if refusal.message.isprintable() else ()
            return Answer.text(refusal.status, refusal.error, headers=detail)
        return Submission(facts={"text": payload["text"]}, content=Post(request.path, payload))

    def admit(self, submission: Submission, *, now_s: float) -> Answer | None:
        """Throttle a webhook beyond its rate."""
        path = submission.content.path
        if self._pacer.take(path, 1, now_s=now_s):
            return None
        return self.throttle(seconds=self._pacer.wait_s(path, now_s=now_s))

    def accept(self, submission: Submission, *, now_ms: int, behaviour: Behaviour | None) -> Answer:
        """Log the post and answer `ok`."""
        del behaviour
        post: Post = submission.content
        self.journal.append({"path": post.path, "payload": post.payload}, now_ms=now_ms)
        return Answer.text(200, "ok")

    def throttle(self, *, seconds: float) -> Answer:
        """Return Slack's 429, with Retry-After in whole seconds."""
        return Answer.text(429, "rate_limited", headers=(("retry-after", str(max(math.ceil(seconds), 1))),))

    def control(self, request: Request) -> Answer | None:
        """Answer no route of its own."""
        del request
        return None
