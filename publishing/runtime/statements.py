"""Named SQL: a store's statements live in the .sql file beside it."""

import re
from pathlib import Path
from types import SimpleNamespace

NAME = re.compile(r"^-- name: ([a-z_][a-z0-9_]*)$", re.MULTILINE)


class StatementError(Exception):
    """A .sql file of statements starts each with a line `-- name: lower_case`, each name once."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path.name}: {reason}. {self.__doc__}")
        self.path = path


def load_statements(module_file: str) -> SimpleNamespace:
    """Read the .sql file beside a module: an attribute a statement, its text without the name line."""
    path = Path(module_file).with_suffix(".sql")
    parts = NAME.split(path.read_text(encoding="utf-8"))
    names, texts = parts[1::2], parts[2::2]
    if not names:
        raise StatementError(path, "it names no statement")
    if len(set(names)) != len(names):
        raise StatementError(path, "a name stands twice")
    return SimpleNamespace(**{name: text.strip().rstrip(";") for name, text in zip(names, texts, strict=True)})
