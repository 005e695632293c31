"""The API as a process under attack, and its mutants without the edge."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import Services, child_environment, test_settings
from tests.fakes.api_process import ApiProcess, api_process

SERVE = ("-m", "ingest_api.serve")
MUTANT = str(Path(__file__).with_name("mutant_server.py"))
# Deadlines of these tests, seconds: those of production are 10, 30, 30 and 75.
DEADLINES = {"header_wait_s": "1.5", "body_wait_s": "2", "write_wait_s": "2", "keep_alive_s": "2.5"}


@pytest.fixture(scope="session")
def variables(services: Services, template_database: str) -> dict[str, str]:
    """An installation without an audience; nothing that is asked of it here writes."""
    address = services.database.rsplit("/", 1)[0] + "/" + template_database
    return child_environment(test_settings(services, address, "edge."))


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
