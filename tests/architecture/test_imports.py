"""The direction of imports: each contract is kept, and each is proven by a mutation that breaks it."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest

pytestmark = [pytest.mark.architecture, pytest.mark.timeout(180)]

# Contract -> the modules that break it and nothing but it is asked about.
MUTATIONS: Mapping[str, Mapping[str, str]] = {
    "Layers: processes over channels over stores over the domain over the data": {
        "publishing/domain/mutant.py": "import publishing.stores.outbox\n",
    },
    "The domain does no I/O and knows no framework": {"publishing/domain/mutant.py": "import asyncio\n"},
    "Faust only in streams": {"sinks/mutant.py": "import faust\n"},
    "asyncpg only in stores and runtime": {"streams/mutant.py": "import asyncpg\n"},
    "The recount shares no code with what it checks": {
        "publishing/cli/replaying/mutant.py": "import publishing.domain.windows\n",
    },
    "Channels are independent of each other": {
        "sinks/channels/mutant.py": "import sinks.channels.mutant_two\n",
        "sinks/channels/mutant_two.py": "",
    },
    "Ranking terms are independent of each other": {
        "publishing/domain/ranking/mutant.py": "import publishing.domain.ranking.mutant_two\n",
        "publishing/domain/ranking/mutant_two.py": "",
    },
    "No cycles under any package": {
        "sinks/mutant.py": "import sinks.mutant_two\n",
        "sinks/mutant_two.py": "import sinks.mutant\n",
    },
}


# A contract's line may end with what it ignores: "... KEPT (1 ignored import)".
_STATE = re.compile(r"^(.+) (KEPT|BROKEN)(?: \(.*\))?$", re.MULTILINE)


def _contracts(root: Path) -> list[str]:
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    return [contract["name"] for contract in settings["tool"]["importlinter"]["contracts"]]


def _broken(tree: Path) -> set[str]:
    """Names of the contracts that the tree breaks; fails where the check itself does."""
    found = subprocess.run(
        [Path(sysconfig.get_path("scripts")) / "lint-imports", "--config", "pyproject.toml"],
        cwd=tree,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    states = dict(_STATE.findall(found.stdout))
    assert states.keys() == set(_contracts(tree)), found.stdout + found.stderr
    return {name for name, state in states.items() if state == "BROKEN"}


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory, root: Path, packages: tuple[str, ...]) -> Path:
    """A copy of the packages and of the contracts, to be mutated."""
    tree = tmp_path_factory.mktemp("tree")
    for package in packages:
        shutil.copytree(root / package, tree / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(root / "pyproject.toml", tree)
    return tree


def test_every_contract_is_kept(copied: Path) -> None:
    """The tree as it is breaks no contract."""
    assert _broken(copied) == set()


def test_every_contract_has_its_mutation(root: Path) -> None:
    """A contract that no mutation proves may be switched off by a misspelt word."""
    assert sorted(_contracts(root)) == sorted(MUTATIONS)


@pytest.mark.parametrize("contract", MUTATIONS)
def test_a_forbidden_import_breaks_its_contract(copied: Path, contract: str) -> None:
    """Adding the forbidden import turns the check red."""
    added = [copied / path for path in MUTATIONS[contract]]
    for path, text in zip(added, MUTATIONS[contract].values(), strict=True):
        path.write_text(f'"""A mutant."""\n{text}', encoding="utf-8")
    try:
        assert contract in _broken(copied)
    finally:
        for path in added:
            path.unlink()


@pytest.mark.parametrize("module", ["ingest_api.app", "sinks.worker", "streams.scheduler", "publishing.cli.main"])
def test_only_faust_apps_load_faust(root: Path, module: str) -> None:
    """The API, the sinks, the scheduler and the command line start without faust and mode."""
    question = f"import sys, {module}; print(sorted({{'faust', 'mode'}} & set(sys.modules)))"
    found = subprocess.run(
        [sys.executable, "-c", question], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert (found.stdout.strip(), found.returncode) == ("[]", 0), found.stderr
