"""The API as a process under attack, and its mutants without the edge."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import Services, child_environment, test_settings
from tests.fakes.api_process import ApiProcess, api_process

SERVE = ("-m", "ingest_api.serve")
MUTANT = str(Path(__file__).with_name("mutant_server.py"))
# Deadlines of these tests, seconds: those of production are 10, 30, 30 and 75.
DEADLINES = {"header_wait_s": "1.5", "body_wait_s": "2", "write_wait_s": "2", "keep_alive_s": "2.5"}


@pytest.fixture(scope="session")
def variables(services: Services, template_database: str) -> Iterator[dict[str, str]]:
    """An installation without an audience."""
    name = f"tidewire_edge_{uuid.uuid4().hex[:10]}"

    async def run(statement: str) -> None:
        connection = await asyncpg.connect(services.database)
        await connection.execute(statement)
        await connection.close()

    asyncio.run(run(f"CREATE DATABASE {name} TEMPLATE {template_database}"))
    yield child_environment(test_settings(services, f"{services.database.rsplit('/', 1)[0]}/{name}", "edge."))
    asyncio.run(run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)"))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def api(variables: dict[str, str]) -> AsyncIterator[ApiProcess]:
    """The API with short deadlines."""
    async with api_process(SERVE, variables, **DEADLINES) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stock(variables: dict[str, str]) -> AsyncIterator[ApiProcess]:
    """The mutant on uvicorn's own protocol."""
    async with api_process((MUTANT, "stock"), variables, **DEADLINES) as running:
        yield running


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def uncapped(variables: dict[str, str]) -> AsyncIterator[ApiProcess]:
    """The mutant that reads bodies of any size."""
    async with api_process((MUTANT, "uncapped"), variables, **DEADLINES) as running:
        yield running
