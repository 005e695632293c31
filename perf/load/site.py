"""An installation for a bench of the collector, the requests of its readers, and what its log holds."""

from __future__ import annotations

import asyncio
import json
import random
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiokafka import AIOKafkaConsumer, TopicPartition

from perf.load.servers import free_port
from publishing.cli.demonstration.installation import Installation, dismantle, prepare
from publishing.domain.keys import KeyRing, parse_key_ring
from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.runtime.clock import now_ms, utc_now
from publishing.runtime.settings import environment
from schemas.frames import decode_frame
from topics.catalog import ENGAGEMENT_RECORDED

DESTINATIONS = 20_000
ARTICLES = 200
CLICK_SHARE = 0.25
SENT_AGO_S = 3_600
AGENTS = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Thunderbird/128.0",
    "Mozilla/5.0",
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a bench lives; `variables` is the environment of its server, which listens on `port`."""

    installation: Installation
    folder: Path
    port: int
    variables: dict[str, str]

    @property
    def ring(self) -> KeyRing:
        """The keys of its links."""
        return parse_key_ring(self.variables["TIDEWIRE_TRACKING_KEYS"])

    def write(self, name: str, requests: list[bytes]) -> Path:
        """Write requests where the load generator finds them."""
        path = self.folder / name
        path.write_bytes(b"\0".join(requests))
        return path

    async def events(self) -> int:
        """How many events the log holds."""
        topic = self.installation.topic_prefix + ENGAGEMENT_RECORDED.name
        consumer = AIOKafkaConsumer(bootstrap_servers=self.installation.addresses.kafka, enable_auto_commit=False)
        await consumer.start()
        try:
            places = [TopicPartition(topic, shard) for shard in range(self.installation.shards)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            left, count = dict(await consumer.end_offsets(places)), 0
            while left := {tp: end for tp, end in left.items() if await consumer.position(tp) < end}:
                batches = await consumer.getmany(timeout_ms=200)
                count += sum(len(decode_frame(one.value).events) for records in batches.values() for one in records)
            return count
        finally:
            await consumer.stop()


@asynccontextmanager
async def opened(**changes: str) -> AsyncIterator[Site]:
    """An installation of this bench's own, on the services of the environment or on a set of its own."""
    folder = Path(tempfile.mkdtemp(prefix="tidewire-bench-"))
    installation = await prepare(folder, environment())
    port = free_port()
    own = {"TIDEWIRE_API_PORT": str(port), "TIDEWIRE_SPOOL_DIR": str(folder / "spool")}
    variables = dict(installation.variables) | own | changes
    try:
        yield Site(installation, folder, port, variables)
    finally:
        await dismantle(installation)
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def reader_hits(ring: KeyRing, count: int, *, seed: int = 41) -> list[bytes]:
    """GET requests of readers, three opens to a click, spread over the audience; the same for the same seed."""
    chance, sent_at_s = random.Random(seed), now_ms() // 1000 - SENT_AGO_S
    articles = [
        sign_article(ring, run_id=77, content_id=one + 1, link=one % 20, url=f"https://news.example/articles/{one}?a=1")
        for one in range(ARTICLES)
    ]
    requests = []
    for _ in range(count):
        is_click = chance.random() < CLICK_SHARE
        reader = sign_reader(
            ring,
            purpose=Purpose.CLICK if is_click else Purpose.OPEN,
            run_id=77,
            publication_id=12,
            channel_id=3,
            destination=chance.randint(1, DESTINATIONS),
            arm=1,
            sent_at_s=sent_at_s,
        )
        path = f"/c/{chance.choice(articles)}/{reader}" if is_click else f"/o/{reader}.gif"
        requests.append(f"GET {path} HTTP/1.1\r\n{_headers(chance.choice(AGENTS))}\r\n".encode())
    return requests


def modelled_hits(count: int, *, seed: int = 41) -> list[bytes]:
    """The same hits as POST requests with a JSON body, under the same headers."""
    chance, requests = random.Random(seed), []
    for _ in range(count):
        agent = chance.choice(AGENTS)
        hit = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": chance.randint(1, DESTINATIONS)}
        body = json.dumps(hit | {"kind": "opened", "occurred_at": utc_now().isoformat(), "agent": agent})
        requests.append(
            f"POST /hits HTTP/1.1\r\n{_headers(agent)}Content-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        )
    return requests


def _headers(agent: str) -> str:
    """What mail clients and browsers send with the request of an image."""
    return (
        f"Host: links.example.org\r\nUser-Agent: {agent}\r\nAccept: image/avif,image/webp,*/*\r\n"
        "Accept-Language: en-GB,en;q=0.9\r\nAccept-Encoding: gzip, deflate, br\r\n"
    )
