"""Runs the processes of an installation as children, starts again what dies, and stops all of them together."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx

from publishing.cli.failures import CommandError
from publishing.local.ports import choose_port
from publishing.runtime.clock import monotonic_s, now_ms
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.settings import Settings, SettingsError, environment, exit_on_settings_error, load_settings
from topics.catalog import DELIVERY

# A process that keeps dying is started again after 0.2, 0.4, ... at most 5 s; one that ran for a minute starts afresh.
FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 5.0
STEADY_S: Final = 60.0
STOP_GRACE_S: Final = 12.0
PROBE_EVERY_S: Final = 0.1
PROBE_TIMEOUT_S: Final = 3.0
API: Final = "api"
# Wrong settings are for a person to mend, not for a restart.
WRONG_SETTINGS: Final = 2

log = get_logger(__name__)


def commands_of(*, lanes: Mapping[str, tuple[str, ...]]) -> dict[str, list[str]]:
    """The command of every process by its name; `lanes` says which lanes each kind of sink serves."""
    python = [sys.executable, "-m"]
    commands = {
        API: [*python, "ingest_api.serve"],
        "review": [*python, "streams.review"],
        "audience": [*python, "streams.audience"],
        "engagement": [*python, "streams.engagement"],
        "scheduler": [*python, "streams.scheduler"],
    }
    for kind, names in lanes.items():
        for lane in names:
            commands[f"sink-{kind}-{lane}"] = [*python, "sinks.worker", kind, lane]
    return commands


class NotReadyError(CommandError):
    """{what} was not ready after {within_s:.0f} s: its log says why."""

    def __init__(self, what: str, within_s: float) -> None:
        super().__init__(what, within_s)
        self.what = what
        self.within_s = within_s


@dataclass(slots=True)
class Child:
    """One supervised process: its command, its process when it runs, and how often it was started again."""

    name: str
    command: list[str]
    health_port: int
    process: asyncio.subprocess.Process | None = None
    restarts: int = 0
    exits: list[int] = field(default_factory=list)


class Supervisor:
    """Children by name, each with a health port of its own; its output goes to `<log_dir>/<name>.log`."""

    def __init__(self, commands: Mapping[str, list[str]], variables: Mapping[str, str], log_dir: Path) -> None:
        taken: set[int] = set()
        self.children: dict[str, Child] = {}
        for name, command in commands.items():
            # The API answers health on its own port.
            is_api = name == API
            port = _api_port(variables) if is_api else choose_port(name, 0, now_ms(), frozenset(taken))
            taken.add(port)
            self.children[name] = Child(name, command, port)
        self._variables = dict(variables)
        self._log_dir = log_dir
        self._tasks: list[asyncio.Task[None]] = []
        self._is_stopping = False

    async def start(self) -> None:
        """Start every child; each is watched from then on."""
        self._log_dir.mkdir(parents=True, exist_ok=True)
        for child in self.children.values():
            await self._launch(child)
            self._tasks.append(asyncio.create_task(self._watch(child), name=f"watch-{child.name}"))

    async def until_ready(self, within_s: float) -> None:
        """Wait until every child says on its health port that it is ready; raises NotReadyError of one that is not."""
        deadline_s = monotonic_s() + within_s
        async with httpx.AsyncClient(trust_env=False, timeout=PROBE_TIMEOUT_S) as http:
            for child in self.children.values():
                while not await _is_ready(http, child.health_port):
                    if monotonic_s() > deadline_s:
                        raise NotReadyError(child.name, within_s)
                    await asyncio.sleep(PROBE_EVERY_S)

    async def stop(self) -> None:
        """Ask every child to end, and kill those that have not after 12 s."""
        self._is_stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        running = [
            child.process for child in self.children.values() if child.process and child.process.returncode is None
        ]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
        try:
            async with asyncio.timeout(STOP_GRACE_S):
                await asyncio.gather(*(process.wait() for process in running))
        except TimeoutError:
            for process in running:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
            await asyncio.gather(*(process.wait() for process in running))

    def kill(self, name: str) -> int:
        """Send SIGKILL to a child and return its process id; raises KeyError for an unknown name."""
        process = self.children[name].process
        assert process is not None
        process.send_signal(signal.SIGKILL)
        return process.pid

    async def _launch(self, child: Child) -> None:
        with (self._log_dir / f"{child.name}.log").open("ab") as output:
            child.process = await asyncio.create_subprocess_exec(
                *child.command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._variables
                | {"TIDEWIRE_INSTANCE": f"{child.name}-0", "TIDEWIRE_HEALTH_PORT": str(child.health_port)},
            )

    async def _watch(self, child: Child) -> None:
        pause_s = FIRST_PAUSE_S
        while not self._is_stopping:
            assert child.process is not None
            started_s = monotonic_s()
            code = await child.process.wait()
            child.exits.append(code)
            if code == WRONG_SETTINGS:
                log.error("child.refused", child=child.name, exit_code=code)
                return
            pause_s = FIRST_PAUSE_S if monotonic_s() - started_s > STEADY_S else pause_s
            log.warning("child.restarted", child=child.name, exit_code=code, pause_s=pause_s)
            await asyncio.sleep(pause_s)
            pause_s = min(LONGEST_PAUSE_S, pause_s * 2)
            child.restarts += 1
            await self._launch(child)


def _api_port(variables: Mapping[str, str]) -> int:
    return int(variables.get("TIDEWIRE_API_PORT") or Settings.model_fields["api_port"].default)


async def _is_ready(http: httpx.AsyncClient, port: int) -> bool:
    try:
        return (await http.get(f"http://127.0.0.1:{port}/readyz")).is_success
    except httpx.TransportError:
        return False


async def _run_all() -> None:
    settings = load_settings(
        "kafka_bootstrap_servers", "database_url", "redis_url", "jwt_issuer", "tracking_keys", "seal_keys"
    )
    configure_logs(settings, "supervisor")
    lanes: dict[str, tuple[str, ...]] = {}
    for kind, lane in DELIVERY:
        lanes[kind] = (*lanes.get(kind, ()), lane)
    supervisor = Supervisor(commands_of(lanes=lanes), environment(), Path("build") / "logs")
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    await supervisor.start()
    await ended.wait()
    await supervisor.stop()


def main() -> None:
    """Run every process of an installation until SIGTERM or SIGINT; exits 2 on wrong settings."""
    try:
        asyncio.run(_run_all())
    except SettingsError as error:
        exit_on_settings_error(error)
