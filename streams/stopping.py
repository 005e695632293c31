"""The ways a stream process ends itself."""

import logging
import os
import signal
import sys
import threading
from typing import NoReturn

from publishing.runtime.logs import get_logger

STOPPED_BY_POISON = 1
# Faust waits for ever for a record that is never acknowledged, as one waiting for a stopped database is.
GRACE_S = 9.0

log = get_logger(__name__)


def kill_self(reason: str) -> None:
    """End this process as if it had lost power: the fence makes that safe, and nothing half-loaded lives on."""
    log.critical("worker.killed", reason=reason)
    logging.shutdown()
    os.kill(os.getpid(), signal.SIGKILL)


async def stop_on_poison(error: Exception) -> NoReturn:
    """Exit with 1 without acknowledging or advancing anything; never returns.

    A graceful stop would wait for the batch at hand, which must not be acknowledged.
    """
    log.critical("worker.stopped", reason=str(error.__doc__), exit_code=STOPPED_BY_POISON)
    logging.shutdown()
    sys.stderr.flush()
    os._exit(STOPPED_BY_POISON)


def limit_the_stop() -> threading.Timer:
    """Kill this process when its graceful stop has not ended within 9 s; cancel the timer once it has."""
    timer = threading.Timer(GRACE_S, kill_self, ("the graceful stop outlasted its limit",))
    timer.daemon = True
    timer.start()
    return timer
