"""A stream worker as a child process: its output, its signals, and what it leaves behind."""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

DEADLINE_S = 40.0


class DeadlineError(Exception):
    """What a test waited for did not come in time; the end of the worker's output is shown."""


class StreamWorker:
    """A running worker; `lines` is what it has written to standard error so far."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._changed = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            async with self._changed:
                self.lines.append(line.decode(errors="replace").rstrip())
                self._changed.notify_all()
        async with self._changed:
            self._changed.notify_all()

    async def wrote(self, text: str, *, times: int = 1) -> str:
        """Wait until so many lines hold the text; returns the last of them."""

        def found() -> list[str]:
            return [line for line in self.lines if text in line]

        try:
            async with asyncio.timeout(DEADLINE_S), self._changed:
                await self._changed.wait_for(lambda: len(found()) >= times or self._reader.done())
        except TimeoutError as error:
            raise DeadlineError(f"{text!r} in:\n" + "\n".join(self.lines[-30:])) from error
        if len(found()) < times:
            raise DeadlineError(f"{text!r} before the worker ended, in:\n" + "\n".join(self.lines[-30:]))
        return found()[times - 1]

    async def exited(self) -> int:
        """Wait for the end; returns the exit code, negative for a signal."""
        async with asyncio.timeout(DEADLINE_S):
            code = await self.process.wait()
            await self._reader
        return code

    def send(self, number: signal.Signals) -> None:
        """Send a signal to this worker."""
        self.process.send_signal(number)

    def state(self) -> str:
        """The letter of the process's state in /proc: T is stopped."""
        return Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]

    async def frozen(self) -> None:
        """Wait until a signal has stopped it: its last line may be read before that."""

        async def is_stopped() -> bool:
            return self.state() == "T"

        await eventually(is_stopped, what="the worker is stopped")


@asynccontextmanager
async def stream_worker(
    arguments: Sequence[str], environment: Mapping[str, str], **settings: str
) -> AsyncIterator[StreamWorker]:
    """Start `python <arguments>` with more TIDEWIRE_* settings; ends it, stopped or not, on the way out."""
    variables = dict(environment) | {f"TIDEWIRE_{name.upper()}": value for name, value in settings.items()}
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, env=variables, stderr=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL
    )
    worker = StreamWorker(process)
    try:
        yield worker
    finally:
        if process.returncode is None:
            process.kill()
        await worker.exited()


async def eventually(is_so: Callable[[], Awaitable[bool]], *, what: str, deadline_s: float = DEADLINE_S) -> None:
    """Poll an awaitable condition every 50 ms until it holds; raises DeadlineError."""
    try:
        async with asyncio.timeout(deadline_s):
            while not await is_so():  # noqa: ASYNC110  - what is polled is another process's work
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        raise DeadlineError(what) from error
