"""What runs by itself runs what a person runs."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
COMMANDS = ("help", "demo", "test", "check", "fmt", "generate", "perf", "faults")


def test_help_is_the_default_and_lists_every_command() -> None:
    """`make` alone prints one line a command and makes nothing."""
    answer = subprocess.run(["/usr/bin/env", "make"], cwd=ROOT, capture_output=True, text=True, check=True)
    listed = [line.split()[1] for line in answer.stdout.splitlines()]
    assert set(COMMANDS) <= set(listed)


def test_an_old_interpreter_is_one_clear_line(tmp_path: Path) -> None:
    """An interpreter below 3.11 is named with the remedy, and so is one that is not there."""
    old = tmp_path / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.8.10" && exit 0\nexit 1\n')
    old.chmod(0o755)
    for interpreter, words in ((str(old), "Python 3.8.10 is too old"), ("python0.1", "python0.1 is not there")):
        answer = subprocess.run(
            ["/bin/sh", str(ROOT / ".ci" / "bootstrap")],
            env={"PATH": os.defpath, "PYTHON": interpreter},
            capture_output=True,
            text=True,
            check=False,
        )
        assert answer.returncode == 1
        assert words in answer.stderr
        assert len(answer.stderr.splitlines()) == 1


def test_continuous_integration_runs_the_test_command() -> None:
    """.ci/run is `make test`, and the workflow runs .ci/run on each supported Python."""
    assert re.search(r"(?m)^exec make test </dev/null$", (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8"))
    job = workflow["jobs"]["test"]
    assert job["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13"]
    assert "bash .ci/run" in [step.get("run") for step in job["steps"]]


def test_hooks_are_the_tools_of_make_check() -> None:
    """Each hook is local, and its tool is one that `make check` runs."""
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert [repo["repo"] for repo in hooks] == ["local"]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(BIN)", ".venv/bin")
    for hook in hooks[0]["hooks"]:
        tool = hook["entry"].partition(" --")[0]
        assert tool in makefile
