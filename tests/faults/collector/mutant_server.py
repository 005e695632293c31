"""The collector without one of its guards: `mutant_server.py answer_first|exit_at_once|remember`, negative controls."""

import asyncio
import os
import signal
import sys

from ingest_api import serve
from ingest_api.durable import BrokerFirst
from ingest_api.spool import Spool
from ingest_api.spool_log import SpooledFrame

HELD_BACK_S = 0.5


def answer_first() -> None:
    """Frames are answered as they come, and handed on half a second later."""
    keep, later = BrokerFirst.keep, set()

    async def keep_later(self: BrokerFirst, shard: int, frame: bytes) -> None:
        await asyncio.sleep(HELD_BACK_S)
        await keep(self, shard, frame)

    async def hasty(self: BrokerFirst, shard: int, frame: bytes) -> None:
        task = asyncio.create_task(keep_later(self, shard, frame))
        later.add(task)
        task.add_done_callback(later.discard)

    BrokerFirst.keep = hasty  # type: ignore[method-assign]


def exit_at_once() -> None:
    """SIGTERM ends the process where it stands, and readers wait long enough to be met by it."""
    keep = BrokerFirst.keep

    async def keep_slowly(self: BrokerFirst, shard: int, frame: bytes) -> None:
        await asyncio.sleep(HELD_BACK_S)
        await keep(self, shard, frame)

    BrokerFirst.keep = keep_slowly  # type: ignore[method-assign]
    start = serve.Server.startup

    async def startup(self: serve.Server, sockets: object = None) -> None:
        await start(self, sockets)  # type: ignore[arg-type]
        signal.signal(signal.SIGTERM, lambda *_: os._exit(0))

    serve.Server.startup = startup  # type: ignore[method-assign]


def remember() -> None:
    """What the broker does not take is held in memory, without a bound, and is promised all the same."""
    held: list[SpooledFrame] = []

    def submit(_: Spool, one: SpooledFrame) -> asyncio.Future[bool]:
        held.append(one)
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        kept.set_result(True)
        return kept

    Spool.submit = submit  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    {"answer_first": answer_first, "exit_at_once": exit_at_once, "remember": remember}[sys.argv[1]]()
    serve.main()
