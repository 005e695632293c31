"""The whole pipeline with foreign producers, poison, and a publication right after a thousand creations."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import confluent_kafka
import fastavro
import pytest
import pytest_asyncio
from aiokafka import AIOKafkaConsumer, TopicPartition

import schemas
from publishing.cli.demonstration import pipeline
from publishing.cli.demonstration.client import ApiClient
from publishing.cli.demonstration.installation import Installation, dismantle, prepare
from publishing.cli.demonstration.simulators import Simulators
from publishing.cli.supervisor import Supervisor, commands_of
from publishing.local.addresses import VARIABLES
from publishing.runtime.clock import monotonic_s, now_ms
from publishing.runtime.correlation import header
from publishing.runtime.settings import environment
from tests.conftest import Services

# One installation serves all tests of this module: they go to one worker.
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
    pytest.mark.xdist_group("pipeline"),
]

WITHIN_S = 90.0
SCHEMA_ID_BYTES = b"\x00\x00\x00\x00\x01"  # magic byte and the id of content.submitted.v1 in schemas/ids.json


@dataclass(frozen=True, slots=True)
class Running:
    """An installation whose processes run, with an alert policy that sends every alert to a webhook room."""

    installation: Installation
    simulators: Simulators
    api: ApiClient
    channels: dict[str, int]

    def topic(self, name: str) -> str:
        """A topic's full name on the broker."""
        return self.installation.topic_prefix + name

    def produce(self, value: bytes, key: str) -> None:
        """Send a record as a foreign program does: another client, its own key, its own partitioner."""
        producer = confluent_kafka.Producer(
            {"bootstrap.servers": self.installation.addresses.kafka, "partitioner": "murmur2_random"}
        )
        failures: list[Any] = []
        producer.produce(
            self.topic("content.submitted.v1"), value, key, on_delivery=lambda error, _: failures.append(error)
        )
        assert producer.flush(20) == 0
        assert failures == [None]

    async def delivered(self) -> set[str]:
        """Titles of the articles that the webhook receiver accepted."""
        rows = await self.simulators.accepted("webhook")
        return {article["title"] for row in rows for article in row["payload"]["data"]["articles"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(services: Services, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Running]:
    """The processes that this module needs, on a database and topics of their own."""
    folder: Path = tmp_path_factory.mktemp("installation")
    addresses = {VARIABLES[name]: getattr(services, name) for name in VARIABLES}
    installation = await prepare(folder, environment() | addresses)
    simulators = await Simulators.start(folder / "logs")
    variables = dict(installation.variables) | {"TIDEWIRE_SES_ENDPOINT_URL": simulators.urls["ses"]}
    commands = commands_of(lanes={"webhook": ("alert",)})
    supervisor = Supervisor(commands, variables, folder / "logs")
    await supervisor.start()
    try:
        async with ApiClient(installation) as api:
            await supervisor.until_ready(WITHIN_S)
            channels = await pipeline.make_channels(api, simulators)
            policy = {
                "name": "Alerts",
                "trigger": {"kind": "on_content"},
                "content": {"topics_any": ["harbour"]},
                "channels": [channels["webhook"]],
                "selection": {"count": 50},
                "priority": "alert",
            }
            await api.post("/publications", policy)
            yield Running(installation, simulators, api, channels)
    finally:
        await supervisor.stop()
        await simulators.stop()
        await dismantle(installation)


def article(number: str, title: str) -> dict[str, Any]:
    """An item as a producer in any language has it."""
    return {
        "source": "foreign",
        "id": number,
        "version": 1,
        "type": "article",
        "title": title,
        "summary": "A ship came in.",
        "body": None,
        "url": f"https://example.org/{number}",
        "topics": {"harbour": 1.0},
        "language": "en",
        "author": None,
        "priority": "alert",
        "quality": None,
        "published_at": now_ms(),
        "expires_at": None,
        "retracted": False,
    }


async def eventually(check: Callable[[], Awaitable[bool]], within_s: float = WITHIN_S) -> None:
    """Wait until an asynchronous check is true."""
    deadline_s = monotonic_s() + within_s
    while not await check():
        assert monotonic_s() < deadline_s, "not in time"
        await asyncio.sleep(0.2)


async def buried(running: Running) -> list[Any]:
    """The records of content.submitted.v1.dlq."""
    place = TopicPartition(running.topic("content.submitted.v1.dlq"), 0)
    async with AIOKafkaConsumer(bootstrap_servers=running.installation.addresses.kafka) as consumer:
        consumer.assign([place])
        await consumer.seek_to_beginning(place)
        end = (await consumer.end_offsets([place]))[place]
        records: list[Any] = []
        while await consumer.position(place) < end:
            for found in (await consumer.getmany(timeout_ms=500)).values():
                records += found
        return records


async def test_another_clients_avro_and_json_are_delivered(running: Running) -> None:
    """Avro written with nothing but the repository's .avsc, and plain JSON, reach the room like our own."""
    file = Path(schemas.__file__).with_name("ContentSubmitted.1.avsc")
    schema = fastavro.parse_schema(json.loads(file.read_text(encoding="utf-8")))
    body = BytesIO()
    fastavro.schemaless_writer(body, schema, article("a", "Sent as Avro"))
    running.produce(SCHEMA_ID_BYTES + body.getvalue(), "any key")
    running.produce(json.dumps(article("j", "Sent as JSON")).encode(), "another key")

    async def both_are_there() -> bool:
        return {"Sent as Avro", "Sent as JSON"} <= await running.delivered()

    await eventually(both_are_there)


async def test_a_corrupt_record_is_buried_alone(running: Running) -> None:
    """Each poison record lies in the DLQ with its reason and its place; the good one beside it is delivered."""
    poison = {
        b"\x00\x00\x00\x00\x01\x02": "malformed",
        b"\x00\x00\x00\xff\xff\x02": "unknown_schema_id",
        json.dumps(article("w", "Wrong type") | {"version": "one"}).encode(): "malformed",
        json.dumps(article("u", "Wrong address") | {"url": "javascript:alert(1)"}).encode(): "unfit_content",
    }
    for value in poison:
        running.produce(value, "poison")
    running.produce(json.dumps(article("n", "A neighbour")).encode(), "poison")

    async def all_are_there() -> bool:
        return len(await buried(running)) >= len(poison) and "A neighbour" in await running.delivered()

    await eventually(all_are_there)
    found = {record.value: header(record.headers, "reason") for record in await buried(running)}
    assert found == poison
    names = {"source_topic", "source_partition", "source_offset", "reason", "error", "failed_at"}
    assert all(names <= {name for name, _ in record.headers} for record in await buried(running))
    assert "Wrong address" not in await running.delivered()


async def test_a_publication_right_after_a_thousand_creations_plans_them_all(running: Running) -> None:
    """Reads follow writes: 1,000 POST /subscribers, then trigger now at once: 1,000 planned."""
    running.produce(json.dumps(article("p", "Something to send")).encode(), "pool")

    async def stored() -> bool:
        return "Something to send" in await running.delivered()

    await eventually(stored)
    gate = asyncio.Semaphore(16)

    async def create(number: int) -> None:
        async with gate:
            body = {"email": f"r{number}@example.org", "topics": {"harbour": 1.0}, "channels": {"email": True}}
            await running.api.post("/subscribers", body)

    await asyncio.gather(*(create(number) for number in range(1000)))
    body = {
        "name": "At once",
        "trigger": {"kind": "now"},
        "content": {"topics_any": ["harbour"]},
        "channels": [running.channels["email"]],
        "selection": {"count": 3},
    }
    publication = await running.api.post("/publications", body)
    run_id = publication["runs"][0]
    law: dict[str, Any] = {}

    async def planned_by_all() -> bool:
        law.update(await running.api.get(f"/runs/{run_id}/conservation"))
        return bool(law["planned_by_all"])

    await eventually(planned_by_all)
    assert (law["candidates"], law["planned"], law["excluded"]) == (1000, 1000, {})
    assert law["holds"]
