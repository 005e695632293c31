"""The services, databases, topics and settings of a test session."""

import asyncio
import base64
import secrets
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import hypothesis
import pytest

from migrations.apply import upgrade
from publishing.domain.keys import KeyRing
from publishing.runtime.database import open_pool
from publishing.runtime.settings import Settings, load_settings
from topics import apply as topics_apply
from topics.model import Topic

JWT_SECRET = "tests-only-secret-of-more-than-thirty-two-bytes"
JWT_ISSUER = "tidewire-tests"
TRACKING_KEYS = "t1:" + base64.b64encode(bytes(range(32))).decode()
SEAL_KEYS = "s1:" + base64.b64encode(bytes(range(32, 64))).decode()
TEST_SHARDS = 4

MakeTopics = Callable[..., Awaitable[None]]

# For `make check`, which is run at every step; `make test` looks at Hypothesis's own hundred.
hypothesis.settings.register_profile("quick", max_examples=25)


@dataclass(frozen=True, slots=True)
class Services:
    """Addresses of the services that a session's tests share."""

    kafka: str
    database: str
    redis: str


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Services]:
    """The services named in the environment, else a set of our own for this worker."""
    given = load_settings()
    if given.kafka_bootstrap_servers and given.database_url and given.redis_url:
        yield Services(given.kafka, given.database, given.redis)
        return
    from publishing.local import services as local

    run_dir: Path = tmp_path_factory.mktemp(f"services-{worker_id}")
    started = local.start(run_dir)
    yield Services(started.kafka, started.database, started.redis)
    local.stop(run_dir)


@pytest.fixture(scope="session")
def worker_id(request: pytest.FixtureRequest) -> str:
    """The pytest-xdist worker, or `main`."""
    return str(getattr(request.config, "workerinput", {}).get("workerid", "main"))


def _on(address: str, database: str) -> str:
    return address.rsplit("/", 1)[0] + "/" + database


@pytest.fixture(scope="session")
def template_database(services: Services) -> Iterator[str]:
    """The name of a migrated database that others are cloned from."""
    name = f"tidewire_template_{uuid.uuid4().hex[:10]}"

    async def make() -> None:
        connection = await asyncpg.connect(services.database)
        await connection.execute(f"CREATE DATABASE {name}")
        await connection.close()
        await upgrade(_on(services.database, name))

    async def drop() -> None:
        connection = await asyncpg.connect(services.database)
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()

    asyncio.run(make())
    yield name
    asyncio.run(drop())


@pytest.fixture
async def database_url(services: Services, template_database: str) -> AsyncIterator[str]:
    """The address of a fresh migrated database."""
    name = f"tidewire_test_{uuid.uuid4().hex[:10]}"
    connection = await asyncpg.connect(services.database)
    await connection.execute(f"CREATE DATABASE {name} TEMPLATE {template_database}")
    try:
        yield _on(services.database, name)
    finally:
        await connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        await connection.close()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix that no other test's topics and groups have."""
    return f"t{secrets.token_hex(4)}."


@pytest.fixture
def settings(services: Services, database_url: str, topic_prefix: str) -> Settings:
    """Settings of a whole installation of this test's own: four shards, test keys, any free ports."""
    return test_settings(services, database_url, topic_prefix)


def test_settings(services: Services, database_url: str, topic_prefix: str) -> Settings:
    """Settings by values, for fixtures of a wider scope than a function."""
    return Settings(
        kafka_bootstrap_servers=services.kafka,
        database_url=database_url,
        redis_url=services.redis,
        topic_prefix=topic_prefix,
        audience_shards=TEST_SHARDS,
        jwt_secret=JWT_SECRET,
        jwt_issuer=JWT_ISSUER,
        tracking_keys=TRACKING_KEYS,
        seal_keys=SEAL_KEYS,
        api_port=0,
        health_port=0,
    )


test_settings.__test__ = False  # type: ignore[attr-defined]


@pytest.fixture
def environment(settings: Settings) -> dict[str, str]:
    """The same settings as TIDEWIRE_* variables over this process's environment, for child processes."""
    return child_environment(settings)


def child_environment(settings: Settings) -> dict[str, str]:
    """The variables that give a child process these settings."""
    from publishing.runtime.settings import PREFIX, environment

    variables = {name: value for name, value in environment().items() if not name.startswith(PREFIX)}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if value is None:
            continue
        if isinstance(value, KeyRing):
            text = ",".join(f"{kid}:{base64.b64encode(key).decode()}" for kid, key in value.keys)
        elif hasattr(value, "get_secret_value"):
            text = value.get_secret_value()
        else:
            text = str(value)
        variables[PREFIX + name.upper()] = text
    return variables


@pytest.fixture
async def pool(settings: Settings) -> AsyncIterator[asyncpg.Pool]:
    """A pool on this test's database."""
    async with await open_pool(settings, process="test", max_size=4) as opened:
        yield opened


@pytest.fixture
def make_topics(settings: Settings) -> MakeTopics:
    """Create topics, each with its dead-letter topic, under this test's prefix."""

    async def make(*topics: Topic) -> None:
        wanted = [each for topic in topics for each in ((topic, topic.dlq) if topic.has_dlq else (topic,))]
        await topics_apply.apply(
            settings.kafka, prefix=settings.topic_prefix, shards=settings.audience_shards, topics=wanted
        )

    return make
