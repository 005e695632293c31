"""The demo's work in order: channels, publications, articles, and waiting until everything has settled."""

import asyncio
import base64
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

from publishing.cli.demonstration.articles import WATCHED
from publishing.cli.demonstration.client import ApiClient
from publishing.cli.demonstration.simulators import Simulators
from publishing.cli.failures import CommandError
from publishing.runtime.clock import monotonic_s
from publishing.runtime.producer import full_name, open_producer, send_frame
from publishing.runtime.settings import Settings
from schemas.codec import encode
from schemas.messages import ContentSubmitted
from topics.catalog import CONTENT_SUBMITTED

POLL_S: Final = 0.25
WEBHOOK_NAME: Final = "newsroom"
ROOM_KINDS: Final = ("slack", "discord", "webhook", "feed")
NEWSLETTER_ARTICLES: Final = 5


class NotSettledError(CommandError):
    """The demo waited {within_s:.0f} s in vain for: {what} ({state}). The logs in build/demo/logs say what is stuck."""

    def __init__(self, what: str, within_s: float, state: object) -> None:
        super().__init__(what, within_s, state)
        self.what = what
        self.within_s = within_s
        self.state = state


async def until(what: str, within_s: float, check: Callable[[], Awaitable[object]]) -> None:
    """Wait until a check returns None, which it does when there is nothing left; raises NotSettledError."""
    deadline_s = monotonic_s() + within_s
    while (left := await check()) is not None:
        if monotonic_s() > deadline_s:
            raise NotSettledError(what, within_s, left)
        await asyncio.sleep(POLL_S)


async def make_channels(api: ApiClient, simulators: Simulators) -> dict[str, int]:
    """Create one channel of each kind, pointed at the simulators; kind -> channel id."""
    secret = "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()
    await simulators.put("webhook", "/_secrets", {WEBHOOK_NAME: secret})
    urls = simulators.urls
    configs: dict[str, dict[str, Any]] = {
        "email": {"sender": "Tidewire Demo <news@example.org>"},
        "slack": {"webhook_url": f"{urls['slack']}/services/T0DEMO/B0DEMO/{secrets.token_hex(12)}"},
        "discord": {"webhook_url": f"{urls['discord']}/api/webhooks/100200300/{secrets.token_hex(34)}"},
        "webhook": {"url": f"{urls['webhook']}/hook/{WEBHOOK_NAME}", "secret": secret},
        "feed": {"title": "Python reference", "link": "https://example.org/", "description": "Watched articles"},
    }
    made: dict[str, int] = {}
    for kind, config in configs.items():
        body: dict[str, Any] = {"kind": kind, "name": f"demo {kind}", "config": config}
        if kind == "email":
            body["limits"] = {"per_second": 1000}
        made[kind] = (await api.post("/channels", body))["id"]
    return made


async def make_alert(api: ApiClient, channels: dict[str, int]) -> int:
    """Create the alert policy: watched articles, as they come, to every room; returns the publication's id."""
    body = {
        "name": "Watched articles",
        "trigger": {"kind": "on_content"},
        "content": {"topics_any": list(WATCHED), "type": "article"},
        "channels": [channels[kind] for kind in ROOM_KINDS],
        "selection": {"count": 50},
        "priority": "alert",
    }
    return int((await api.post("/publications", body))["id"])


async def make_newsletter(api: ApiClient, channels: dict[str, int]) -> int:
    """Publish a personalised newsletter of five articles to every subscriber, now; returns the publication's id."""
    body = {
        "name": "Your five articles",
        "trigger": {"kind": "now"},
        "content": {"type": "article", "max_age_hours": 168},
        "channels": [channels["email"]],
        "selection": {"count": NEWSLETTER_ARTICLES},
        "priority": "bulk",
    }
    return int((await api.post("/publications", body))["id"])


async def push(settings: Settings, items: Sequence[ContentSubmitted]) -> None:
    """Produce articles into the topic as any producer does: Avro, keyed by (source, id), the partition as it falls."""
    async with open_producer(settings) as producer:
        topic = full_name(settings, CONTENT_SUBMITTED)
        await asyncio.gather(
            *(send_frame(producer, topic, encode(item), key=f"{item.source}/{item.id}".encode()) for item in items)
        )
