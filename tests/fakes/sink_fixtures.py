"""Fixtures of the sinks' tests: simulators, a stage and workers; a conftest imports what its tests ask for."""

import sys
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from publishing.runtime.settings import Settings
from tests.fakes.sink_stage import Providers, SinkProcess, Stage, running_providers


@pytest.fixture
def providers() -> Iterator[Providers]:
    """Fresh simulators."""
    with running_providers() as running:
        yield running


@pytest.fixture
def stage(pool: asyncpg.Pool, settings: Settings) -> Stage:
    """A stage on this test's own database and topics."""
    return Stage(pool, settings)


@pytest.fixture
def start_sink(environment: dict[str, str], providers: Providers) -> Iterator[Callable[..., SinkProcess]]:
    """A function of kind, failpoints and lane that starts a sink as a process."""
    started: list[SinkProcess] = []

    def start(kind: str, *, failpoints: str = "", lane: str = "bulk") -> SinkProcess:
        variables = {**environment, "TIDEWIRE_SES_ENDPOINT_URL": providers.urls["ses"]}
        started.append(SinkProcess(kind, variables, failpoints=failpoints, lane=lane))
        return started[-1]

    yield start
    for process in started:
        sys.stderr.write(process.read())
        process.close()
