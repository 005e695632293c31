"""Owns the beginning and the end of runs: publishing_publications -> publishing_runs -> done."""

import datetime as dt
from collections.abc import Callable

from publishing.runtime.clock import monotonic_s
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.runtime.metrics import RUNS
from publishing.stores.scheduling import Scheduling

DUE_BATCH = 50
PLANNED_BATCH = 50
# A look at a large run costs as much as its deliveries are many; looking takes at most a twentieth of the time.
LOOK_RATIO = 20

log = get_logger(__name__)


class Runs:
    """Makes due runs and ends settled ones; each method is a loop's step."""

    def __init__(self, scheduling: Scheduling, *, clock: Callable[[], dt.datetime]) -> None:
        """Work on the runs of the database."""
        self._scheduling = scheduling
        self._clock = clock
        self._after_id = 0
        self._look_again_s: dict[int, float] = {}

    async def begin(self) -> bool:
        """Make the runs that are due; return whether more may be."""
        made = await self._scheduling.claim_due(self._clock(), DUE_BATCH)
        if not made:
            return False
        failpoint("scheduler.after_claim_due")
        for due in made:
            if due.run_id is not None:
                RUNS.labels("created").inc()
                log.info("run.created", run=due.run_id, publication=due.publication_id)
        return len(made) == DUE_BATCH

    async def finish(self) -> bool:
        """Look at the next planned runs and end those that are settled; return whether more wait for a look."""
        found = await self._scheduling.planned_runs(self._after_id, PLANNED_BATCH)
        for run_id in found:
            await self._finish_one(run_id)
        if len(found) == PLANNED_BATCH:
            self._after_id = found[-1]
            return True
        self._after_id = 0
        began_s = monotonic_s()
        self._look_again_s = {run: at_s for run, at_s in self._look_again_s.items() if at_s > began_s}
        return False

    async def _finish_one(self, run_id: int) -> None:
        began_s = monotonic_s()
        if self._look_again_s.get(run_id, 0.0) > began_s:
            return
        if await self._scheduling.finish_run(run_id, self._clock()):
            RUNS.labels("done").inc()
            log.info("run.done", run=run_id)
            return
        ended_s = monotonic_s()
        self._look_again_s[run_id] = ended_s + LOOK_RATIO * (ended_s - began_s)
