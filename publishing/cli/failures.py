"""Owns what a command says when it cannot do its work, and with which number it ends."""

from __future__ import annotations

from typing import ClassVar, Final

FAILED: Final = 1
WRONG_USAGE: Final = 2


class CommandError(Exception):
    """The command cannot be carried out."""

    exit_code: ClassVar[int] = FAILED

    def __str__(self) -> str:
        """The class's docstring, with the attributes of this error filled in."""
        return " ".join((type(self).__doc__ or "").split()).format(**vars(self))


class UnreachableError(CommandError):
    """{what} does not answer ({reason}): check {variable}, or run `tidewire services up`."""

    def __init__(self, what: str, reason: str, variable: str) -> None:
        super().__init__(what, reason, variable)
        self.what = what
        self.reason = reason
        self.variable = variable


class UnknownTopicError(CommandError):
    """No topic is called {topic}: `tidewire topics plan` lists them."""

    exit_code: ClassVar[int] = WRONG_USAGE

    def __init__(self, topic: str) -> None:
        super().__init__(topic)
        self.topic = topic


class UnknownRunError(CommandError):
    """No run has the number {run}: `GET /api/v1/publishing/publications/ID` lists those of a publication."""

    def __init__(self, run: int) -> None:
        super().__init__(run)
        self.run = run


class NotInstalledError(CommandError):
    """{what} is not part of this installation ({reason})."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(what, reason)
        self.what = what
        self.reason = reason


def lines_of(error: Exception) -> list[str]:
    """What is said on standard error: one line, and for settings one for each variable."""
    from publishing.runtime.settings import SettingsError

    if isinstance(error, SettingsError):
        return [f"{name} {problem}" for name, problem in error.problems.items()]
    return [" ".join(str(error).split())]


def exit_code_of(error: Exception) -> int | None:
    """The number a command ends with on an expected error; None for a fault of the program itself."""
    from migrations.apply import MigrationPendingError
    from publishing.local.errors import LocalServicesError, PortTakenError, RunDirectoryError
    from publishing.runtime.settings import SettingsError
    from publishing.stores.replays import ReplayRunningError
    from topics.errors import TopicsError

    if isinstance(error, CommandError):
        return error.exit_code
    if isinstance(error, SettingsError | PortTakenError | RunDirectoryError):
        return WRONG_USAGE
    if isinstance(error, LocalServicesError | MigrationPendingError | ReplayRunningError | TopicsError):
        return FAILED
    return None
