"""A collector under fault: real processes over a real broker, readers who remember what they were answered."""

import asyncio
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import Popen

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition

from publishing.domain.links import Purpose, sign_reader
from publishing.local.ports import choose_port
from publishing.runtime.clock import now_ms
from publishing.runtime.correlation import header
from publishing.runtime.producer import full_name
from publishing.runtime.settings import Settings
from schemas.frames import decode_frame
from tests.conftest import MakeTopics
from topics.catalog import ENGAGEMENT_RECORDED

MUTANT = str(Path(__file__).with_name("mutant_server.py"))
SERVER = ("-m", "ingest_api.serve")
# A broker that nobody runs: port 1 is privileged and refuses at once.
NO_BROKER = "127.0.0.1:1"
# A start loads much: seconds on a calm machine.
START_WAIT_S = 90
ANSWER_WAIT_S = 20
BODY = b"List-Unsubscribe=One-Click"


async def until(reached: Callable[[], Awaitable[bool]], seconds: float) -> float:
    """Wait for something and return how long it took; raises TimeoutError."""
    started_s = time.monotonic()
    async with asyncio.timeout(seconds):
        while not await reached():  # noqa: ASYNC110  - another process has no event
            await asyncio.sleep(0.05)
    return time.monotonic() - started_s


@dataclass(slots=True)
class Answers:
    """What readers were answered, by their number, and how long the slowest waited."""

    statuses: dict[int, int] = field(default_factory=dict)
    retry_after: set[str | None] = field(default_factory=set)
    broken: dict[int, str] = field(default_factory=dict)
    slowest_s: float = 0.0

    def numbers(self, status: int = 200) -> set[int]:
        """Who got a status."""
        return {number for number, answered in self.statuses.items() if answered == status}


class Connection:
    """A reader's connection, which knows whether a request was on its way when it ended."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._is_last = False

    @classmethod
    async def open(cls, url: str) -> "Connection":
        """Connect; raises OSError."""
        address = httpx.URL(url)
        return cls(*await asyncio.open_connection(address.host, address.port))

    def is_over(self) -> bool:
        """Whether the server has said that nothing more is to be asked here."""
        if self._is_last or self._reader.at_eof():
            self._writer.close()
            return True
        return False

    async def post(self, path: str) -> tuple[int, str | None]:
        """Unsubscribe and return status and Retry-After; raises OSError, EOFError or TimeoutError without an answer."""
        head = f"POST {path} HTTP/1.1\r\nHost: links\r\nContent-Length: {len(BODY)}\r\n\r\n"
        async with asyncio.timeout(ANSWER_WAIT_S):
            self._writer.write(head.encode() + BODY)
            status, *lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().splitlines()
            headers = dict(line.split(": ", 1) for line in lines if line)
            await self._reader.readexactly(int(headers["content-length"]))
        self._is_last = headers.get("connection") == "close"
        return int(status.split()[1]), headers.get("retry-after")

    def close(self) -> None:
        """Hang up."""
        self._writer.close()


class Stage:
    """One installation with a folder for the spool; each start of the collector gets a port of its own."""

    def __init__(self, settings: Settings, environment: dict[str, str], folder: Path) -> None:
        self.settings = settings
        self.folder = folder
        self.spool = folder / "spool"
        self._environment = environment | {"TIDEWIRE_SPOOL_DIR": str(self.spool), "TIDEWIRE_INSTANCE": "a"}
        self._next = 1
        self.log = folder / "server.log"
        self.url = ""

    @contextmanager
    def collector(self, *command: str, **changes: str) -> Iterator[Popen[bytes]]:
        """A collector process that listens; killed at the end if it still runs."""
        port = choose_port("api", 0, now_ms())
        self.url = f"http://127.0.0.1:{port}"
        environment = self._environment | {"TIDEWIRE_API_PORT": str(port)} | changes
        with self.log.open("ab") as out:
            process = Popen([sys.executable, *(command or SERVER)], env=environment, stdout=out, stderr=out)
        try:
            deadline_s = time.monotonic() + START_WAIT_S
            while True:
                assert process.poll() is None, self.log.read_text(encoding="utf-8")[-2_000:]
                try:
                    httpx.get(f"{self.url}/livez", timeout=1)
                    break
                except httpx.TransportError:
                    assert time.monotonic() < deadline_s
                    time.sleep(0.05)
            yield process
        finally:
            if process.poll() is None:
                os.kill(process.pid, signal.SIGCONT)
                process.kill()
            process.wait()

    def path(self, number: int, purpose: Purpose = Purpose.UNSUBSCRIBE) -> str:
        """The link of a reader."""
        token = sign_reader(
            self.settings.tracking, purpose=purpose, run_id=7, publication_id=1, channel_id=1, destination=number
        )
        return f"/u/{token}" if purpose is Purpose.UNSUBSCRIBE else f"/o/{token}.gif"

    async def crowd(self, answers: Answers, stop: asyncio.Event, *, readers: int = 16, pause_s: float = 0.0) -> None:
        """Readers who unsubscribe, each with a number of its own, a reader's next after its last was answered."""
        start = self._next
        self._next += 1_000_000

        async def reader(place: int) -> None:
            number, connection = start + place, None
            while not stop.is_set():
                if connection is None or connection.is_over():
                    try:
                        connection = await Connection.open(self.url)
                    except OSError:  # it does not listen: nothing was asked
                        await asyncio.sleep(0.02)
                        continue
                started_s = time.monotonic()
                try:
                    status, retry_after = await connection.post(self.path(number))
                except (OSError, EOFError, TimeoutError) as error:
                    answers.broken[number] = f"{type(error).__name__} after {time.monotonic() - started_s:.2f} s"
                    connection = None
                else:
                    answers.statuses[number] = status
                    if status == httpx.codes.SERVICE_UNAVAILABLE:
                        answers.retry_after.add(retry_after)
                    answers.slowest_s = max(answers.slowest_s, time.monotonic() - started_s)
                number += readers
                await asyncio.sleep(pause_s)
            if connection is not None:
                connection.close()

        await asyncio.gather(*(reader(place) for place in range(readers)))

    async def metric(self, name: str) -> float:
        """One number of the collector's metrics, summed over its labels."""
        async with httpx.AsyncClient(base_url=self.url, timeout=5) as client:
            text = (await client.get("/metrics")).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name))

    def bytes_on_disk(self) -> int:
        """How much the segments of the spool hold."""
        return sum(path.stat().st_size for path in (self.spool / "a").glob("*.spool"))

    async def is_drained(self) -> bool:
        """Whether nothing waits in the spool."""
        return await self.metric("tidewire_spool_frames ") == 0

    async def counted(self) -> list[int]:
        """The readers' numbers in the log, in the order of each shard, as the engagement app counts their frames."""
        topic = full_name(self.settings, ENGAGEMENT_RECORDED)
        consumer = AIOKafkaConsumer(bootstrap_servers=self.settings.kafka, enable_auto_commit=False)
        await consumer.start()
        try:
            places = [TopicPartition(topic, shard) for shard in range(self.settings.audience_shards)]
            consumer.assign(places)
            await consumer.seek_to_beginning(*places)
            left, numbers, seen = dict(await consumer.end_offsets(places)), [], set()
            while left := {tp: end for tp, end in left.items() if await consumer.position(tp) < end}:
                for records in (await consumer.getmany(timeout_ms=200)).values():
                    for record in records:
                        source, frame = header(record.headers, "ce_source"), header(record.headers, "ce_id")
                        if str(source).startswith("tidewire/spool"):
                            if frame in seen:
                                continue
                            seen.add(frame)
                        numbers += decode_frame(record.value).events["destination"].tolist()
            return numbers
        finally:
            await consumer.stop()


def lost(answers: Answers, counted: list[int]) -> set[int]:
    """Who was answered 200 and is not in the log."""
    return answers.numbers() - set(counted)


def twice(counted: list[int]) -> set[int]:
    """Who is in the log more than once."""
    return {number for number, times in Counter(counted).items() if times > 1}


@pytest.fixture
async def stage(settings: Settings, environment: dict[str, str], make_topics: MakeTopics, tmp_path: Path) -> Stage:
    """An installation with its topic."""
    await make_topics(ENGAGEMENT_RECORDED)
    return Stage(settings, environment, tmp_path)
