"""Simulators, a stage and workers for tests of the sinks."""

import base64
import sys
from collections.abc import Callable, Iterator

import asyncpg
import pytest

from publishing.domain.keys import KeyRing
from publishing.runtime.settings import Settings
from tests.fakes.sink_stage import Providers, SinkProcess, Stage, running_providers


def spelled(ring: KeyRing) -> str:
    """A ring as its variable spells it."""
    return ",".join(f"{kid}:{base64.b64encode(key).decode()}" for kid, key in ring.keys)


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
def start_sink(
    settings: Settings, environment: dict[str, str], providers: Providers
) -> Iterator[Callable[..., SinkProcess]]:
    """A function of kind, failpoints and lane that starts a sink as a process."""
    started: list[SinkProcess] = []

    def start(kind: str, *, failpoints: str = "", lane: str = "bulk") -> SinkProcess:
        variables = {
            **environment,
            "TIDEWIRE_TRACKING_KEYS": spelled(settings.tracking),
            "TIDEWIRE_SEAL_KEYS": spelled(settings.sealing),
            "TIDEWIRE_SES_ENDPOINT_URL": providers.urls["ses"],
        }
        started.append(SinkProcess(kind, variables, failpoints=failpoints, lane=lane))
        return started[-1]

    yield start
    for process in started:
        sys.stderr.write(process.read())
        process.close()
