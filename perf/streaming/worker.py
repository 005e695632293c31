"""The engagement app as the process under test: how far it is by its fence, and what it and the database used."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from perf.load.servers import cpu_s, resident_kb
from perf.streaming.site import Site
from publishing.runtime.clock import monotonic_s
from publishing.runtime.database import open_pool
from publishing.stores.offsets import Pool

POLL_S = 0.02
DEADLINE_S = 240.0


class BenchError(Exception):
    """A bench did not come to its end, or its result is wrong: the message says which; no figure is to be believed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """How much was applied and used at one moment: records, CPU-seconds of the worker and of the database, the time."""

    records: int
    worker_s: float
    database_s: float
    at_s: float


class Worker:
    """A running engagement app."""

    def __init__(self, child: asyncio.subprocess.Process, pool: Pool) -> None:
        self._child = child
        self._pool = pool

    async def reading(self) -> Reading:
        """What the fence, /proc and the database's own processes say now."""
        rows = await self._pool.fetch(
            "SELECT pid FROM pg_stat_activity WHERE coalesce(datname, current_database()) = current_database()"
        )
        applied = await self._pool.fetchval(
            "SELECT coalesce(sum(next_offset), 0)::bigint FROM stream_offsets WHERE consumer = 'engagement'"
        )
        database_s = sum(_used_s(row["pid"]) for row in rows)
        return Reading(applied, cpu_s(self._child.pid), database_s, monotonic_s())

    async def until(self, records: int) -> Reading:
        """Wait until so many records are applied; raises BenchError after four minutes, or when the worker ends."""
        deadline_s = monotonic_s() + DEADLINE_S
        while (found := await self.reading()).records < records:
            if self._child.returncode is not None:
                raise BenchError(f"the engagement app ended with {self._child.returncode}")
            if monotonic_s() > deadline_s:
                raise BenchError(f"{found.records} of {records} records were applied in {DEADLINE_S:.0f} s")
            await asyncio.sleep(POLL_S)
        return found

    def resident_bytes(self) -> int:
        """The peak of its resident memory."""
        return resident_kb(self._child.pid, peak=True) * 1024

    async def kill(self) -> None:
        """End it by SIGKILL."""
        if self._child.returncode is None:
            self._child.kill()
        await self._child.wait()


@asynccontextmanager
async def engagement_app(site: Site) -> AsyncIterator[Worker]:
    """The app over the site's topic, killed at the end."""
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "streams.engagement",
        env=dict(site.variables),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    async with await open_pool(site.settings, process="perf", max_size=2) as pool:
        worker = Worker(child, pool)
        try:
            yield worker
        finally:
            await worker.kill()


async def count_events(site: Site) -> int:
    """The sum of the minutes' totals: what the analysts see."""
    async with await open_pool(site.settings, process="perf", max_size=2) as pool:
        query = "SELECT coalesce(sum(total), 0)::bigint FROM publishing_analytics WHERE grain = 'minute'"
        return int(await pool.fetchval(query))


def _used_s(pid: int) -> float:
    """CPU-seconds of a server process; one that has ended counts nothing."""
    try:
        return cpu_s(pid)
    except FileNotFoundError:
        return 0.0
