"""Owns services.json, the record of what runs in a run directory, and the lock around changing it."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from publishing.local.daemons import Daemon
from publishing.local.deadlines import Deadline
from publishing.local.errors import RunDirectoryBusyError, RunDirectoryError

FILE_NAME: Final = "services.json"
LOCK_PATIENCE_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Record:
    """One started server: its port, its address for clients, and the pid with its start time."""

    port: int
    address: str
    pid: int
    started: str

    @property
    def daemon(self) -> Daemon:
        """The server as something that can be looked for and stopped."""
        return Daemon(self.pid, self.started)


def read(run_dir: Path) -> dict[str, Record]:
    """What was started in the directory, by service; empty when nothing was, or the file is damaged."""
    try:
        document = json.loads((run_dir / FILE_NAME).read_text(encoding="utf-8"))
        return {service: Record(**fields) for service, fields in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def write(run_dir: Path, records: dict[str, Record]) -> None:
    """Replace the record in one step; raises RunDirectoryError when the disk does not take it."""
    path = run_dir / FILE_NAME
    draft = path.with_suffix(f".{os.getpid()}")
    document = {service: asdict(record) for service, record in sorted(records.items())}
    try:
        draft.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as refused:
        raise RunDirectoryError(run_dir, refused.strerror or str(refused)) from refused


@contextmanager
def locked(folder: Path, *, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Hold the folder's lock; the system drops it with the program. Raises RunDirectoryBusyError after `patience_s`."""
    try:
        lock = (folder / "lock").open("ab")
    except OSError as refused:
        raise RunDirectoryError(folder, refused.strerror or str(refused)) from refused
    with lock:
        deadline = Deadline.after(patience_s)
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if deadline.is_over():
                    raise RunDirectoryBusyError(folder) from None
                deadline.pause(0.1)
            else:
                break
        yield
