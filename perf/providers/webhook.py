"""A receiver of outgoing webhooks that verifies them by Standard Webhooks 1.0.0 and removes no duplicates."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from perf.providers.exchange import Answer, Refusal, Request, parse_json
from perf.providers.journal import Journal
from perf.providers.script import Behaviour
from perf.providers.simulator import Submission
from perf.providers.webhook_checks import SecretError, check, check_signature, parse_secret

_HOOK = re.compile(r"/hook/(?P<name>[^/]+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A verified webhook."""

    path: str
    name: str
    webhook_id: str
    timestamp: int
    payload: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class Webhook:
    """Receivers by name, each with the secrets that `PUT /_secrets` gave it."""

    journal: Journal = field(default_factory=Journal)
    name: str = "webhook"
    max_body_bytes: int = 1024 * 1024
    fact_names: frozenset[str] = frozenset({"name", "webhook_id", "type"})
    _keys: dict[str, list[bytes]] = field(default_factory=dict)

    def read(self, request: Request, *, now_ms: int) -> Submission | Answer:
        """Verify a webhook: its signature first, then its body."""
        path = _HOOK.fullmatch(request.path)
        if path is None:
            return Answer.json(404, {"error": "no such receiver"})
        if request.method != "POST":
            return Answer.json(405, {"error": "post webhooks here"})
        keys = self._keys.get(path["name"], [])
        refusal = check_signature(request.headers, request.body, keys=keys, now_s=now_ms / 1000)
        refusal = refusal or check(request.body)
        if refusal is not None:
            return _refuse(refusal)
        payload = parse_json(request.body)
        event = Event(
            path=request.path,
            name=path["name"],
            webhook_id=request.headers["webhook-id"],
            timestamp=int(request.headers["webhook-timestamp"]),
            payload=payload,
        )
        facts = {"name": event.name, "webhook_id": event.webhook_id, "type": payload["type"]}
        return Submission(facts=facts, content=event)

    def admit(self, submission: Submission, *, now_s: float) -> Answer | None:
        """Allow any rate: a receiver throttles by its script only."""
        del submission, now_s
        return None

    def accept(self, submission: Submission, *, now_ms: int, behaviour: Behaviour | None) -> Answer:
        """Log the webhook, also one whose id is there already, and answer 204."""
        del behaviour
        event: Event = submission.content
        fields = {
            "path": event.path,
            "name": event.name,
            "webhook_id": event.webhook_id,
            "webhook_timestamp": event.timestamp,
            "payload": event.payload,
        }
        self.journal.append(fields, now_ms=now_ms)
        return Answer(status=204)

    def throttle(self, *, seconds: float) -> Answer:
        """Return 429 with Retry-After in whole seconds."""
        return Answer.json(
            429, {"error": "too many requests"}, headers=(("retry-after", str(max(math.ceil(seconds), 1))),)
        )

    def control(self, request: Request) -> Answer | None:
        """Answer `PUT /_secrets`: an object of receiver name to `whsec_` secret, or to a list of them in rotation."""
        if (request.method, request.path) != ("PUT", "/_secrets"):
            return None
        try:
            given = parse_json(request.body)
            keys = {name: _parse_secrets(secrets) for name, secrets in given.items()}
        except (ValueError, AttributeError) as error:
            reason = str(error) if isinstance(error, SecretError) else "an object of name to secret is needed"
            return Answer.json(422, {"error": reason})
        self._keys.update(keys)
        return Answer.json(200, {"receivers": sorted(self._keys)})


def _parse_secrets(secrets: Any) -> list[bytes]:
    listed = secrets if isinstance(secrets, list) else [secrets]
    if not all(isinstance(secret, str) for secret in listed):
        raise SecretError("a secret is a string")
    return [parse_secret(secret) for secret in listed]


def _refuse(refusal: Refusal) -> Answer:
    return Answer.json(refusal.status, {"error": refusal.error, "field": refusal.field, "message": refusal.message})
