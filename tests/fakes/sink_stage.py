"""A stage for sinks: provider simulators, and runs whose plans and frames stand in the database and the log."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import asyncpg
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from publishing.runtime.clock import monotonic_s
from publishing.runtime.producer import open_producer
from publishing.runtime.sealing import Sealer
from publishing.runtime.settings import Settings
from publishing.stores.channels import config_label
from schemas.codec import encode
from schemas.frames import EventFrame, decode_frame
from schemas.messages import DeliveryRequested, Lane
from topics.catalog import DELIVERY, ENGAGEMENT_RECORDED

PUBLISHED_AT = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class Providers:
    """The simulators of `python -m perf.providers`, by name: ses, slack, discord, webhook."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self.urls = urls

    def _call(self, name: str, method: str, path: str, body: bytes | None = None) -> bytes:
        request = urllib.request.Request(self.urls[name] + path, data=body, method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
            content: bytes = answer.read()
            return content

    def log(self, name: str) -> list[dict[str, Any]]:
        """What a provider has accepted, in order."""
        return [json.loads(line) for line in self._call(name, "GET", "/_log").splitlines()]

    def script(self, name: str, *behaviours: Mapping[str, Any]) -> None:
        """Set how a provider misbehaves."""
        self._call(name, "PUT", "/_script", json.dumps(list(behaviours)).encode())

    def secrets(self, secrets: Mapping[str, str]) -> None:
        """Give the webhook receivers their secrets, by name."""
        self._call("webhook", "PUT", "/_secrets", json.dumps(dict(secrets)).encode())

    def message(self, message_id: str) -> bytes:
        """The raw mail that SES accepted under an id."""
        return self._call("ses", "GET", f"/_message/{message_id}")


@contextmanager
def running_providers() -> Iterator[Providers]:
    """Start the simulators as a process of our own and end it."""
    process = subprocess.Popen([sys.executable, "-m", "perf.providers"], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield Providers(json.loads(process.stdout.readline())["urls"])
    finally:
        process.terminate()
        process.wait(timeout=10)
        if process.stdout is not None:
            process.stdout.close()


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that waits for its sink."""

    run_id: int
    publication_id: int
    channel_id: int
    shard: int
    destinations: tuple[int, ...]
    content_ids: tuple[int, ...]
    frame: bytes

    def keys(self) -> set[str]:
        """The delivery keys of the plan."""
        return {f"{self.run_id}-{self.channel_id}-{number}" for number in self.destinations}


class Stage:
    """Puts rows and frames where a sink finds them, and reads what came of them."""

    def __init__(self, pool: asyncpg.Pool, settings: Settings) -> None:
        self.pool = pool
        self.settings = settings
        self._sealer = Sealer(settings.sealing)

    async def channel(self, kind: str, config: Mapping[str, Any], *, per_second: float = 1_000.0) -> tuple[int, int]:
        """A channel, and the destination number of its room (0 for e-mail)."""
        number = await self.pool.fetchval("SELECT coalesce(max(id), 0) + 1 FROM publishing_channels")
        sealed = self._sealer.seal_config(config_label(number), json.dumps(dict(config)).encode())
        room = None
        if kind != "email":
            room = await self.pool.fetchval("SELECT nextval('publishing_destination_numbers')")
        await self.pool.execute(
            """INSERT INTO publishing_channels (id, kind, name, config_sealed, limits, destination, shard)
               OVERRIDING SYSTEM VALUE VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            number,
            kind,
            f"{kind}-{number}",
            sealed,
            {"per_second": per_second},
            room,
            None if room is None else room % self.settings.audience_shards,
        )
        return number, room or 0

    async def subscribers(self, count: int, *, shard: int = 0) -> tuple[int, ...]:
        """Active subscribers of one shard, reader<number>@example.org."""
        numbers = []
        for _ in range(count):
            number = 0
            while not number or number % self.settings.audience_shards != shard:
                number = await self.pool.fetchval("SELECT nextval('publishing_destination_numbers')")
            key = self._sealer.new_data_key(number)
            address = f"reader{number}@example.org"
            await self.pool.execute(
                """INSERT INTO publishing_subscribers (id, shard, data_key, email_sealed, email_lookup, channels)
                   VALUES ($1, $2, $3, $4, $5, $6)""",
                number,
                shard,
                key,
                self._sealer.seal(key, number, address.encode()),
                self._sealer.lookup(address),
                {"email": True},
            )
            numbers.append(number)
        return tuple(numbers)

    async def content(self, count: int, *, title: str = "Article") -> tuple[int, ...]:
        """Articles with a title and an address each."""
        rows = await self.pool.fetch(
            """INSERT INTO publishing_content (source, external_id, version, type, title, summary, url, topics,
                   language, priority, quality, published_at, submitted_at)
               SELECT 'test', gen_random_uuid()::text, 1, 'article', $2 || ' ' || n, 'Summary ' || n,
                   'https://example.org/a/' || n, '{"go": 1.0}', 'en', 'bulk', 0.5, $3, $3
               FROM generate_series(1, $1::int) n RETURNING id""",
            count,
            title,
            PUBLISHED_AT,
        )
        return tuple(row["id"] for row in rows)

    async def plan(
        self,
        kind: str,
        channel_id: int,
        destinations: Sequence[int],
        content_ids: Sequence[int],
        *,
        lane: str = "bulk",
        deadline_at: datetime | None = None,
    ) -> Planned:
        """A publication, its run, the shard's plan and its encoded frame; produces nothing."""
        shard = destinations[0] % self.settings.audience_shards
        publication_id = await self.pool.fetchval(
            """INSERT INTO publishing_publications (name, status, definition, created_by)
               VALUES ('Weekly', 'running', '{"trigger": {"kind": "now"}}', 'test') RETURNING id"""
        )
        run_id = await self.pool.fetchval(
            """INSERT INTO publishing_runs (publication_id, publication_version, due_at, shards, deadline_at)
               VALUES ($1, 1, now(), $2, $3) RETURNING id""",
            publication_id,
            self.settings.audience_shards,
            deadline_at,
        )
        frame = encode(
            DeliveryRequested(
                run_id=run_id,
                publication_id=publication_id,
                channel_id=channel_id,
                shard=shard,
                chunk=0,
                lane=Lane(lane),
                template_id=0,
                template_version=0,
                deadline_at=deadline_at,
                destinations=tuple(destinations),
                arms=(0,) * len(destinations),
                content_ids=(tuple(content_ids),),
                scores=((0.5,) * len(content_ids),),
            )
        )
        topic = DELIVERY[kind, lane]
        await self.pool.execute(
            "INSERT INTO publishing_run_shards (run_id, shard, candidates, planned) VALUES ($1, $2, $3, $3)",
            run_id,
            shard,
            len(destinations),
        )
        await self.pool.execute(
            """INSERT INTO publishing_plans (run_id, shard, chunk, channel_id, topic, partition, destinations, frame)
               VALUES ($1, $2, 0, $3, $4, $5, $6, $7)""",
            run_id,
            shard,
            channel_id,
            topic.name,
            shard % 8,
            list(destinations),
            frame,
        )
        return Planned(run_id, publication_id, channel_id, shard, tuple(destinations), tuple(content_ids), frame)

    async def emit(self, kind: str, *payloads: bytes, shard: int, lane: str = "bulk") -> None:
        """Produce frames as the streams do."""
        async with self._producer() as producer:
            for payload in payloads:
                topic = DELIVERY[kind, lane].named(self.settings.topic_prefix)
                await producer.send_and_wait(topic, payload, partition=shard % 8)

    @asynccontextmanager
    async def _producer(self) -> AsyncIterator[AIOKafkaProducer]:
        async with open_producer(self.settings, linger_ms=0) as producer:
            yield producer

    async def states(self, planned: Planned) -> dict[str, int]:
        """How many deliveries of a run are in each state."""
        rows = await self.pool.fetch(
            "SELECT state, count(*) FROM publishing_deliveries WHERE run_id = $1 GROUP BY state", planned.run_id
        )
        return {row["state"]: row["count"] for row in rows}

    async def reasons(self, planned: Planned) -> set[str | None]:
        """The reasons that a run's deliveries have."""
        rows = await self.pool.fetch(
            "SELECT DISTINCT reason FROM publishing_deliveries WHERE run_id = $1", planned.run_id
        )
        return {row["reason"] for row in rows}

    async def settled(self, planned: Planned, wanted: Mapping[str, int], *, within_s: float = 60.0) -> None:
        """Wait until exactly these states hold."""
        deadline_s = monotonic_s() + within_s
        while (states := await self.states(planned)) != dict(wanted) and monotonic_s() < deadline_s:  # noqa: ASYNC110  - rows of a database are polled
            await asyncio.sleep(0.05)
        assert states == dict(wanted), await self.reasons(planned)

    async def receipts(self) -> list[EventFrame]:
        """Every frame of receipts that stands in the log."""
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka, auto_offset_reset="earliest")
        await consumer.start()
        try:
            name = ENGAGEMENT_RECORDED.named(self.settings.topic_prefix)
            places = [TopicPartition(name, p) for p in range(self.settings.audience_shards)]
            consumer.assign(places)
            ends = await consumer.end_offsets(places)
            frames = []
            for place, end in ends.items():
                await consumer.seek_to_beginning(place)
                while await consumer.position(place) < end:
                    for records in (await consumer.getmany(place, timeout_ms=1_000)).values():
                        frames += [decode_frame(record.value) for record in records]
            return frames
        finally:
            await consumer.stop()


class SinkProcess:
    """A sink as a process: `python -m sinks.worker KIND LANE`, its standard error kept."""

    def __init__(self, kind: str, environment: Mapping[str, str], *, failpoints: str = "", lane: str = "bulk") -> None:
        variables = {**environment, "TIDEWIRE_FAILPOINTS": failpoints, "TIDEWIRE_HEALTH_PORT": "0"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sinks.worker", kind, lane],
            env=variables,
            stderr=subprocess.PIPE,
        )
        os.set_blocking(self._pipe.fileno(), False)
        self.errors = ""

    @property
    def _pipe(self) -> Any:
        assert self.process.stderr is not None
        return self.process.stderr

    def read(self) -> str:
        """What the process has written so far."""
        self.errors += (self._pipe.read() or b"").decode("utf-8", "replace")
        return self.errors

    async def until(self, condition: Callable[[], bool], *, within_s: float = 60.0) -> None:
        """Wait for a condition, reading the process's words meanwhile."""
        try:
            async with asyncio.timeout(within_s):
                while not condition():
                    await asyncio.sleep(0.05)
                    self.read()
        except TimeoutError:
            raise AssertionError(self.read()[-3_000:]) from None

    async def consuming(self) -> None:
        """Wait until it has partitions."""
        await self.until(lambda: "partitions.assigned" in self.errors)

    async def killed_by(self, number: signal.Signals, *, within_s: float = 60.0) -> None:
        """Wait until it has ended by a signal."""
        await self.until(lambda: self.process.poll() is not None, within_s=within_s)
        self.read()
        assert self.process.returncode == -number, self.errors[-3_000:]

    async def stop(self, *, within_s: float = 10.0) -> int:
        """Ask it to stop, and return its exit code."""
        if self.process.poll() is None:
            self.process.terminate()
        await self.until(lambda: self.process.poll() is not None, within_s=within_s)
        self.read()
        return self.process.returncode

    def close(self) -> None:
        """End it, however it stands."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=5)
        self._pipe.close()
