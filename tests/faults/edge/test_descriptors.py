"""R24: when descriptors run out, what is connected is served, nothing turns in circles, and accepting goes on after it.

Fault: a process that may open 96 files, and 300 connections to it. Proof of the hit: it has nearly all of its
descriptors open, and most of the 300 get no answer. The mutant is the same process on uvicorn's own protocol, which
takes connections until none is left for anything else.
"""

import asyncio
import resource

import pytest

from tests.fakes.api_process import ApiProcess, api_process, head
from tests.fakes.streams_worker import eventually
from tests.faults.edge.conftest import DEADLINES, MUTANT, SERVE

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("edge")]

FILES = 96
CONNECTIONS = 300
WATCHED_S = 1.0


async def check_exhaustion(api: ApiProcess) -> None:
    """Flood with connections that say nothing, look, let go, and ask again."""
    resource.prlimit(api.pid, resource.RLIMIT_NOFILE, (FILES, FILES))

    async def answers() -> bool:
        answer = await api.ask(head("GET", "/livez", "Connection: close"), address="127.0.5.99")
        return answer.statuses == [200]

    opening = [
        asyncio.open_connection("127.0.0.1", api.port, local_addr=(f"127.0.5.{1 + number % 10}", 0))
        for number in range(CONNECTIONS)
    ]
    opened = [one for one in await asyncio.gather(*opening, return_exceptions=True) if isinstance(one, tuple)]
    assert len(opened) > FILES
    before_s = api.cpu_s()
    await asyncio.sleep(WATCHED_S)
    used_s = api.cpu_s() - before_s
    held = api.descriptors()
    for _, writer in opened:
        writer.transport.abort()
    print(f"descriptors {held} of {FILES}, processor {used_s:.2f} s in {WATCHED_S} s")  # noqa: T201  - the figure
    await eventually(answers, what="the API answers again", deadline_s=10)
    assert used_s <= 0.5 * WATCHED_S
    assert held <= FILES - 8, f"{held} of {FILES} are open: nothing is left for the services"


async def test_accepting_goes_on_after_descriptors_ran_out(variables: dict[str, str]) -> None:
    """With more connections than files the process stays responsive for itself, idle, and whole again after it."""
    async with api_process(SERVE, variables, **DEADLINES, max_connections=str(FILES // 3)) as api:
        await check_exhaustion(api)


async def test_the_mutant_has_no_descriptor_left(variables: dict[str, str]) -> None:
    """Without the cap of connections the same check goes red: every descriptor is a connection."""
    async with api_process((MUTANT, "stock"), variables, **DEADLINES) as stock:
        with pytest.raises(AssertionError, match="nothing is left"):
            await check_exhaustion(stock)
