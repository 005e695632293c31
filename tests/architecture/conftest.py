"""The source tree as the architecture's tests see it: the files of the checkout, never an installed wheel."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("topics", "schemas", "publishing", "streams", "ingest_api", "sinks", "migrations", "perf")
GENERATED = frozenset({"topics/catalog.py", "schemas/messages.py"})


def _parsed(folders: tuple[str, ...]) -> dict[str, ast.Module]:
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in paths}


@pytest.fixture(scope="session")
def root() -> Path:
    """The folder of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def packages() -> tuple[str, ...]:
    """The top-level packages; perf is the only one that is not in the wheel."""
    return PACKAGES


@pytest.fixture(scope="session")
def product() -> dict[str, ast.Module]:
    """Every module of the packages by its path, parsed."""
    return _parsed(PACKAGES)


@pytest.fixture(scope="session")
def written(product: dict[str, ast.Module]) -> dict[str, ast.Module]:
    """The modules that people write: all but the generated ones."""
    return {path: tree for path, tree in product.items() if path not in GENERATED}


@pytest.fixture(scope="session")
def tests() -> dict[str, ast.Module]:
    """Every module of the tests by its path, parsed."""
    return _parsed(("tests",))
