"""The application around the hooks without any service: callbacks are posted to it, and what is kept is looked at."""

import base64
import contextlib
import dataclasses
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import numpy.typing as npt

from ingest_api.auth import TokenRules
from ingest_api.collector import Collector
from ingest_api.edge import Edge
from ingest_api.front import Front
from ingest_api.hooks.receiving import Hooks
from ingest_api.management import management_api
from ingest_api.resources import Resources
from publishing.runtime.clock import now_ms, utc_now
from publishing.runtime.metrics import REGISTRY
from publishing.runtime.settings import Settings
from schemas.frames import decode_frame
from schemas.messages import EngagementKind
from tests.fakes.amazon import TOPIC, Amazon
from tests.fakes.durables import AwayDurable, KeepingDurable

SLACK_SECRETS = ("slack-secret-of-today", "slack-secret-of-yesterday")
WEBHOOK_KEY, PREVIOUS_KEY = bytes(range(32)), bytes(range(32, 64))


def stage_settings(**changes: Any) -> Settings:
    """Settings of services at ports where nobody listens, with every hook configured."""
    values: dict[str, Any] = {
        "kafka_bootstrap_servers": "127.0.0.1:1",
        "database_url": "postgresql://nobody@127.0.0.1:1/none",
        "redis_url": "redis://127.0.0.1:1/0",
        "audience_shards": 4,
        "jwt_secret": "hook-tests-secret-of-more-than-thirty-two-bytes",
        "jwt_issuer": "tests",
        "tracking_keys": "t1:" + base64.b64encode(bytes(range(32))).decode(),
        "seal_keys": "s1:" + base64.b64encode(bytes(range(32, 64))).decode(),
        "public_url": "https://t.example.org",
        "sns_topic_arns": TOPIC,
        "slack_signing_secrets": ",".join(SLACK_SECRETS),
    }
    return Settings(**values | changes)


@dataclasses.dataclass(slots=True)
class HookStage:
    """The application, what Amazon is asked, and the frames that are kept."""

    client: httpx.AsyncClient
    resources: Resources
    amazon: Amazon
    kept: KeepingDurable

    @property
    def events(self) -> npt.NDArray[np.void]:
        """Every event that is kept, in its order."""
        frames = [decode_frame(frame).events for _, frame in self.kept.frames]
        return np.concatenate(frames) if frames else np.zeros(0, np.void)

    def kinds(self) -> list[str]:
        """The kinds of what is kept."""
        return [list(EngagementKind)[code].value for code in self.events["kind"]] if self.kept.frames else []

    def lose_broker(self) -> None:
        """From now on nothing is durable."""
        self.resources.collector = collector_on(AwayDurable())

    async def sns(self, message: Any) -> httpx.Response:
        """Post a message of SNS, or raw bytes."""
        body = message if isinstance(message, bytes) else json.dumps(message).encode()
        return await self.client.post("/hooks/ses", content=body, headers={"Content-Type": "text/plain"})


def collector_on(durable: Any) -> Collector:
    """A collector of four shards."""
    return Collector(durable, shards=4, recorded_by="tests", clock_ms=now_ms, linger_s=0.001)


@contextlib.asynccontextmanager
async def hook_stage(settings: Settings | None = None) -> AsyncIterator[HookStage]:
    """Set the stage; no connection is ever opened."""
    resources = Resources(settings or stage_settings())
    kept = KeepingDurable()
    resources.collector = collector_on(kept)
    api = management_api(resources)
    amazon = Amazon(utc_now())
    api.state.hooks = Hooks(resources, amazon)
    rules = TokenRules(secret="none", issuer="tests", audience="tidewire")
    transport = httpx.ASGITransport(Front(Edge(api, rules), resources), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://tests") as client:
        yield HookStage(client, resources, amazon, kept)


def slack_headers(body: bytes, *, secret: str = SLACK_SECRETS[0], at_s: int | None = None) -> dict[str, str]:
    """The headers by which Slack signs a body."""
    at_s = now_ms() // 1_000 if at_s is None else at_s
    mac = hmac.new(secret.encode(), f"v0:{at_s}:".encode() + body, hashlib.sha256).hexdigest()
    return {"X-Slack-Request-Timestamp": str(at_s), "X-Slack-Signature": f"v0={mac}"}


def webhook_headers(
    body: bytes, *, key: bytes = WEBHOOK_KEY, webhook_id: str = "msg_1", at_s: int | None = None
) -> dict[str, str]:
    """The headers by which a receiving end signs a body."""
    at_s = now_ms() // 1_000 if at_s is None else at_s
    mac = hmac.new(key, f"{webhook_id}.{at_s}.".encode() + body, hashlib.sha256).digest()
    signature = "v1," + base64.b64encode(mac).decode()
    return {"webhook-id": webhook_id, "webhook-timestamp": str(at_s), "webhook-signature": signature}


def counted(name: str, **labels: str) -> float:
    """The present value of a metric."""
    return REGISTRY.get_sample_value(f"tidewire_{name}", labels) or 0.0
