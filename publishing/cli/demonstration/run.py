"""One demo from the first service to the last comparison."""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from email import message_from_bytes
from email.policy import default
from functools import partial
from pathlib import Path
from typing import Any, Final

from publishing.cli.demonstration import oracles, pipeline, summary
from publishing.cli.demonstration.articles import WATCHED, articles
from publishing.cli.demonstration.client import ApiClient
from publishing.cli.demonstration.installation import SEED, Installation, settings_of
from publishing.cli.demonstration.oracles import Verdict
from publishing.cli.demonstration.people import people
from publishing.cli.demonstration.pipeline import until
from publishing.cli.demonstration.recount import recount_when_applied
from publishing.cli.demonstration.simulators import READING_AFTER_S, Simulators, end, start_readers
from publishing.cli.dlq import count_all
from publishing.cli.replaying.recounting import Outcome
from publishing.cli.supervisor import Supervisor
from publishing.runtime.clock import monotonic_s, utc_now
from publishing.runtime.database import Pool, open_pool
from publishing.runtime.settings import Settings
from publishing.stores import evidence
from sinks.channels import load
from topics.catalog import ALL, DELIVERY

READY_WITHIN_S: Final = 120.0
ALERTS_WITHIN_S: Final = 60.0
NEWSLETTER_WITHIN_S: Final = 120.0
RECOUNT_WITHIN_S: Final = 60.0
READERS_QUIET_S: Final = READING_AFTER_S + 2.0
DELIVERY_NUMBER: Final = re.compile(r"(\d+)[-_](\d+)[-_](\d+)$")
Say = Callable[[str], None]


@dataclass(slots=True)
class Demonstration:
    """The parts of a running demo; `is_hostile` kills every process once on the way."""

    installation: Installation
    simulators: Simulators
    supervisor: Supervisor
    folder: Path
    say: Say
    subscribers: int
    is_hostile: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    async def run(self) -> list[Verdict]:
        """Do the main job and compare what came of it; raises NotSettledError when something is stuck."""
        settings = settings_of(self.installation)
        pool = await open_pool(settings, process="demo")
        async with pool, ApiClient(self.installation) as api:
            await self.supervisor.until_ready(READY_WITHIN_S)
            self.say(f"{len(self.supervisor.children)} processes are ready")
            channels = await pipeline.make_channels(api, self.simulators)
            alert = await pipeline.make_alert(api, channels)
            await self._load(api)
            await self._push_articles(settings, pool)
            newsletter = await pipeline.make_newsletter(api, channels)
            self.say(f"published a newsletter of {pipeline.NEWSLETTER_ARTICLES} articles to every subscriber")
            log = self.folder / "readers.ndjson"
            log.unlink(missing_ok=True)
            readers = await start_readers(self.simulators.urls["ses"], log, seed=SEED)
            try:
                await self._kill("scheduler", "engagement", "sink-email-bulk", pause_s=1.0)
                await until("the first mails are read", NEWSLETTER_WITHIN_S, partial(_nothing_read, log))
                await self._kill("api", pause_s=0.0)
                await until("deliveries settle", NEWSLETTER_WITHIN_S, lambda: self._unsettled(pool, newsletter))
                self.say("every planned delivery is in a terminal state")
                await _until_quiet(log)
            finally:
                await end(readers)
            self.say("the readers have opened and clicked")
            counted = await recount_when_applied(settings, pool, RECOUNT_WITHIN_S)
            return await self._compare(settings, pool, alert=alert, log=log, counted=counted)

    async def _load(self, api: ApiClient) -> None:
        refused = await api.load_subscribers(people(self.subscribers, SEED))
        assert not refused, refused[:3]
        self.say(f"loaded {self.subscribers} subscribers with their interests")

    async def _push_articles(self, settings: Settings, pool: Pool) -> None:
        items = articles(utc_now())
        half = len(items) // 2
        await pipeline.push(settings, items[:half])
        await self._kill("review", "audience", "sink-slack-alert", pause_s=0.3)
        await pipeline.push(settings, items[half:])
        await self._kill("sink-discord-alert", "sink-webhook-alert", "sink-feed-alert", pause_s=0.3)
        self.facts["content"] = len(items)
        self.say(f"pushed {len(items)} articles into the topic")

        async def missing() -> object:
            stored = await evidence.content_count(pool)
            runs = await evidence.conservation(pool)
            return f"{stored} stored" if stored < len(items) or not runs else oracles.unsettled(runs) or None

        await until("alerts settle", ALERTS_WITHIN_S, missing)
        self.say("the alert policy has delivered to its rooms")

    async def _kill(self, *names: str, pause_s: float) -> None:
        """Kill processes one after another; their supervisor starts them again."""
        if not self.is_hostile:
            return
        for name in names:
            self.say(f"kill -9 {name} (pid {self.supervisor.kill(name)})")
            await asyncio.sleep(pause_s)

    async def _unsettled(self, pool: Pool, newsletter: int) -> object:
        runs = await evidence.conservation(pool)
        left = oracles.unsettled(runs) or None
        has_run = await evidence.has_run(pool, newsletter)
        return left if has_run else "the newsletter has no run yet"

    async def _compare(
        self, settings: Settings, pool: Pool, *, alert: int, log: Path, counted: Outcome | None
    ) -> list[Verdict]:
        cells = await evidence.cells(pool)
        deliveries = await evidence.deliveries(pool)
        mails = await self.simulators.accepted("ses")
        in_doubt = await evidence.keys_in_state(pool, ["in_doubt"])
        accepted = {key for key in await evidence.keys_in_state(pool, ["accepted"]) if key.kind != "feed"}
        buried = {row.topic: row.buried for row in await count_all(settings, [topic for topic in ALL if topic.has_dlq])}
        verdicts = [
            oracles.conservation(await evidence.conservation(pool)),
            oracles.provider_log(accepted, in_doubt, await self._logged(mails)),
            oracles.rooms(
                await evidence.room_articles(pool, alert),
                await evidence.content_about(pool, WATCHED),
                len(pipeline.ROOM_KINDS),
            ),
            oracles.doubt(in_doubt, most_in_flight() if self.is_hostile else {}),
            oracles.mails(deliveries, self.subscribers, len(in_doubt)),
            oracles.aggregates(counted),
            oracles.readers(cells, log),
            oracles.dead_letters(buried),
        ]
        if mails:
            await self._save_mail(mails[0]["message_id"])
        self._collect(verdicts, cells, deliveries, await evidence.latencies_ms(pool, alert))
        self.facts["in_doubt"] = sorted(in_doubt)
        return verdicts

    async def _logged(self, mails: list[dict[str, Any]]) -> list[tuple[str, oracles.Number]]:
        texts = [("email", str(row["tags"].get("delivery", ""))) for row in mails]
        texts += [
            ("slack", row["payload"]["metadata"]["event_payload"]["delivery"])
            for row in await self.simulators.accepted("slack")
        ]
        texts += [("discord", row["payload"]["nonce"]) for row in await self.simulators.accepted("discord")]
        texts += [("webhook", row["webhook_id"]) for row in await self.simulators.accepted("webhook")]
        return [(kind, number_of(text)) for kind, text in texts]

    async def _save_mail(self, message_id: str) -> None:
        mail = message_from_bytes(await self.simulators.mail(message_id), policy=default)
        body = mail.get_body(("html",))
        assert body is not None
        (self.folder / "mail.html").write_text(body.get_content(), encoding="utf-8")

    def _collect(
        self,
        verdicts: list[Verdict],
        cells: list[evidence.Cell],
        deliveries: dict[str, dict[str, int]],
        ms: list[float],
    ) -> None:
        facts = {verdict.name: verdict.facts for verdict in verdicts}
        self.facts |= {
            "ok": all(verdict.holds for verdict in verdicts),
            "subscribers": self.subscribers,
            "deliveries": deliveries,
            "conservation": facts["conservation"],
            "recount": facts["recount"],
            "provider_log": facts["provider log"],
            "alert_latency_ms": summary.latency(ms),
            "dlq": facts["dead letters"]["dlq"],
            "windows": summary.windows(cells),
            "restarts": {name: child.restarts for name, child in self.supervisor.children.items()},
            "urls": {
                "api": self.installation.api_url,
                "dashboard": f"{self.installation.api_url}/dashboard",
                **self.simulators.urls,
            },
            "checks": {verdict.name: {"holds": verdict.holds, "found": verdict.found} for verdict in verdicts},
        }


def _size_of(log: Path) -> int:
    return log.stat().st_size if log.exists() else 0


async def _nothing_read(log: Path) -> object:
    return None if _size_of(log) else "no hit yet"


async def _until_quiet(log: Path) -> None:
    """Wait until the readers have written nothing for longer than they wait before they read."""
    size, quiet_since_s = -1, monotonic_s()
    while monotonic_s() - quiet_since_s < READERS_QUIET_S:
        if _size_of(log) != size:
            size, quiet_since_s = _size_of(log), monotonic_s()
        await asyncio.sleep(pipeline.POLL_S)


def most_in_flight() -> dict[str, int]:
    """What a sink of each kind may have submitted without an answer: one group, at most a burst, a partition."""
    partitions = {kind: topic.partition_count(1) for (kind, _), topic in DELIVERY.items()}
    return {kind: channel.limits.burst * partitions[kind] for kind, channel in load().items()}


def number_of(text: str) -> oracles.Number:
    """The delivery that a provider's log names; a message that names none is nobody's, and no ledger has it."""
    found = DELIVERY_NUMBER.search(text)
    return (int(found[1]), int(found[2]), int(found[3])) if found else (0, 0, 0)
