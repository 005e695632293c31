"""Owns the life of a set of local services in one run directory: start, stop, status, and which set a program uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Final, Literal, Protocol

from publishing.local import records
from publishing.local.addresses import VARIABLES, ServiceAddresses
from publishing.local.daemons import Daemon, is_running
from publishing.local.daemons import stop as stop_daemon
from publishing.local.deadlines import Deadline
from publishing.local.errors import LocalServicesError, NotRunningError, RunDirectoryError, StartFailedError
from publishing.local.folders import make_run_dir, number_of
from publishing.local.ports import Ports, choose_port
from publishing.local.records import Record, locked
from publishing.local.servers import SERVERS, Server

ATTEMPTS: Final = 2
"""A port of our own choice may be taken between the choice and the start: another one is tried once."""

POLL_S: Final = 0.05


class Chooser(Protocol):
    """A place that services come from: containers, or the servers that are started here."""

    def __call__(self, run_dir: Path, wanted: Collection[str]) -> Mapping[str, str] | None:
        """The addresses of the wanted services, or None when this place cannot give them."""
        ...


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """How one service is: `unready` runs but does not answer, `stopped` does not run."""

    service: str
    state: Literal["ready", "unready", "stopped"]
    address: str | None
    pid: int | None


def start(run_dir: Path, *, ports: Ports | None = None) -> ServiceAddresses:
    """Start what does not run yet and give the addresses when every server answers; raises LocalServicesError."""
    return ServiceAddresses(**_start_some(run_dir, tuple(SERVERS), ports or Ports()))


def stop(run_dir: Path) -> list[str]:
    """End the servers of the directory, and name those that ran; their data stays."""
    folder = make_run_dir(run_dir)
    with locked(folder):
        known = records.read(folder)
        running = [service for service in known if is_running(known[service].daemon)]
        _stop_some(folder, running)
    return running


def status(run_dir: Path) -> list[ServiceStatus]:
    """The state of each server now."""
    known = records.read(run_dir.expanduser().absolute())
    return [_status_of(service, known.get(service)) for service in SERVERS]


def addresses(run_dir: Path) -> ServiceAddresses:
    """Where the running set answers; raises NotRunningError unless all three are ready."""
    states = status(run_dir)
    if any(service.state != "ready" for service in states):
        raise NotRunningError(run_dir)
    return ServiceAddresses(**{service.service: service.address or "" for service in states})


def start_here(run_dir: Path, wanted: Collection[str]) -> Mapping[str, str]:
    """The last place to get services from: the servers of this package."""
    return _start_some(run_dir, wanted, Ports())


def resolve(
    environment: Mapping[str, str], run_dir: Path, *, choosers: Sequence[Chooser] = (start_here,)
) -> ServiceAddresses:
    """The addresses that the environment names; the first chooser that can gives those it does not name."""
    given = {service: environment[variable] for service, variable in VARIABLES.items() if environment.get(variable)}
    wanted = [service for service in VARIABLES if service not in given]
    if not wanted:
        return ServiceAddresses(**given)
    for choose in choosers:
        found = choose(run_dir, wanted)
        if found is not None:
            return ServiceAddresses(**{**found, **given})
    raise NotRunningError(run_dir)


def _start_some(run_dir: Path, wanted: Collection[str], ports: Ports) -> dict[str, str]:
    folder = make_run_dir(run_dir)
    starting = _Starting(folder, ports)
    with locked(folder):
        starting.known = records.read(folder)
        with ThreadPoolExecutor(max_workers=len(SERVERS)) as threads:
            futures = {service: threads.submit(starting.ensure, service) for service in wanted}
        failures = [error for future in futures.values() if (error := future.exception())]
        if failures:
            _stop_some(folder, starting.launched)
            raise failures[0]
    return {service: future.result() for service, future in futures.items()}


class _Starting:
    """One `start` under way: what is known to run and what it has launched itself."""

    def __init__(self, folder: Path, ports: Ports) -> None:
        self.folder = folder
        self.ports = ports
        self.known: dict[str, Record] = {}
        self.launched: list[str] = []
        self._writing = Lock()

    def ensure(self, service: str) -> str:
        """The address of the service, started when it does not run."""
        server = SERVERS[service]
        record = self.known.get(service)
        log = self.folder / f"{service}.log"
        if record and is_running(record.daemon):
            self._wait(service, server, record, log)
            return record.address
        wanted = getattr(self.ports, service)
        for attempt in range(ATTEMPTS):
            try:
                return self._launch(service, server, wanted, log)
            except StartFailedError:
                if wanted or attempt + 1 == ATTEMPTS:
                    raise
            except OSError as refused:
                raise RunDirectoryError(self.folder, refused.strerror or str(refused)) from refused
        raise AssertionError("unreachable")

    def _launch(self, service: str, server: Server, wanted: int, log: Path) -> str:
        offset = 7 * number_of(self.folder) + tuple(SERVERS).index(service)
        port = choose_port(service, wanted, offset)
        daemon = server.start(self.folder, log, port)
        record = Record(port, server.address.format(port=port), daemon.pid, daemon.started)
        with self._writing:
            self.known[service] = record
            self.launched.append(service)
            records.write(self.folder, self.known)
        self._wait(service, server, record, log)
        return record.address

    def _wait(self, service: str, server: Server, record: Record, log: Path) -> None:
        deadline = Deadline.after(server.ready_in_s)
        while not server.is_ready(record.port):
            if not is_running(record.daemon):
                raise StartFailedError(service, f"it ended: {_last_line(log)}", log)
            if deadline.is_over():
                raise StartFailedError(service, f"no answer in {server.ready_in_s:.0f} s", log)
            deadline.pause(POLL_S)


def _stop_some(folder: Path, services: Sequence[str]) -> None:
    known = records.read(folder)
    failures: list[LocalServicesError] = []
    with ThreadPoolExecutor(max_workers=len(SERVERS)) as threads:
        ends = {service: threads.submit(_stop_one, service, known[service].daemon) for service in services}
    for service, end in ends.items():
        error = end.exception()
        if isinstance(error, LocalServicesError):
            failures.append(error)
        else:
            end.result()
            del known[service]
    records.write(folder, known)
    if failures:
        raise failures[0]


def _stop_one(service: str, daemon: Daemon) -> None:
    stop_daemon(service, daemon, first=SERVERS[service].stop_signal, grace_s=SERVERS[service].stop_grace_s)


def _status_of(service: str, record: Record | None) -> ServiceStatus:
    if record is None or not is_running(record.daemon):
        return ServiceStatus(service, "stopped", None, None)
    state: Literal["ready", "unready"] = "ready" if SERVERS[service].is_ready(record.port) else "unready"
    return ServiceStatus(service, state, record.address, record.pid)


def _last_line(log: Path) -> str:
    """What the server said last, shortened."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return "it said nothing"
    return next((line.strip()[:200] for line in reversed(lines) if line.strip()), "it said nothing")
