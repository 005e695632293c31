"""Owns `tidewire demo`: the main job, end to end, on real services with simulated providers and readers."""

import asyncio
import fcntl
import logging
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from publishing.cli.demonstration import installation as installations
from publishing.cli.demonstration import summary
from publishing.cli.demonstration.run import Demonstration
from publishing.cli.demonstration.simulators import Simulators
from publishing.cli.failures import CommandError
from publishing.cli.supervisor import Supervisor, commands_of
from publishing.runtime.clock import monotonic_s
from publishing.runtime.settings import environment

FOLDER: Final = Path("build") / "demo"
FAILED: Final = 1
# The demo's newsletter is bulk mail, its alert goes to rooms: the other lanes would only wait.
LANES: Final = {
    "email": ("bulk",),
    "slack": ("alert",),
    "discord": ("alert",),
    "webhook": ("alert",),
    "feed": ("alert",),
}
# A killed sink's claims are free again after this many seconds, so that a demo with kills ends in time.
LEASE_S: Final = "8"


class DemoRunningError(CommandError):
    """Another demo runs in {folder}: end it first."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.folder = folder


@dataclass(slots=True)
class Progress:
    """Prints each step with the seconds since the start."""

    started_s: float

    def say(self, text: str) -> None:
        """Print one step."""
        typer.echo(f"[{monotonic_s() - self.started_s:6.1f} s] {text}")


def demo(
    *,
    subscribers: Annotated[int, typer.Option(min=1, max=1_000_000, help="How many readers to load.")] = 2_000,
    keep: Annotated[bool, typer.Option("--keep", help="Leave everything running until Ctrl-C.")] = False,
    kill: Annotated[bool, typer.Option("--kill", help="kill -9 every process once on the way.")] = False,
) -> None:
    """Run the main job on real services; exit 0 only when every comparison holds."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    with _alone(FOLDER):
        code = asyncio.run(_demo(subscribers=subscribers, keep=keep, kill=kill))
    raise typer.Exit(code)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the folder while a demo runs, and clear what one that was killed has left; raises DemoRunningError."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DemoRunningError(folder) from error
        installations.clear(folder)
        yield


async def _demo(*, subscribers: int, keep: bool, kill: bool) -> int:
    progress = Progress(monotonic_s())
    progress.say("starting Kafka, PostgreSQL and Valkey (the first start downloads them)")
    prepared = await installations.prepare(FOLDER, environment())
    progress.say(f"services are up; Kafka at {prepared.addresses.kafka}")
    simulators = None
    supervisor = None
    try:
        simulators = await Simulators.start(FOLDER / "logs")
        variables = dict(prepared.variables) | {
            "TIDEWIRE_SES_ENDPOINT_URL": simulators.urls["ses"],
            "TIDEWIRE_LEASE_S": LEASE_S,
        }
        supervisor = Supervisor(commands_of(lanes=LANES), variables, FOLDER / "logs")
        await supervisor.start()
        show = Demonstration(
            installation=prepared,
            simulators=simulators,
            supervisor=supervisor,
            folder=FOLDER,
            say=progress.say,
            subscribers=subscribers,
            is_hostile=kill,
        )
        code = await _judge(show, progress)
        if keep:
            await _until_interrupted(show)
        return code
    finally:
        if supervisor is not None:
            await supervisor.stop()
        if simulators is not None:
            await simulators.stop()
        await installations.dismantle(prepared)


async def _judge(show: Demonstration, progress: Progress) -> int:
    verdicts = await show.run()
    show.facts["seconds"] = round(monotonic_s() - progress.started_s, 1)
    summary.write(FOLDER / "summary.json", show.facts)
    summary.show(show.facts, verdicts)
    progress.say(f"one mail is in {FOLDER / 'mail.html'}, the summary in {FOLDER / 'summary.json'}")
    return 0 if show.facts["ok"] else FAILED


async def _until_interrupted(show: Demonstration) -> None:
    typer.echo("\nStill running; end it with Ctrl-C.")
    for name, address in show.facts["urls"].items():
        typer.echo(f"  {name:9} {address}")
    for role in ("reader", "admin"):
        typer.echo(f"  {role:9} {show.installation.token(role)}")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await ended.wait()
