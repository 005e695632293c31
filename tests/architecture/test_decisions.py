"""Decisions are sentences with a figure, and each names the test that guards it."""

import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.architecture

SECTIONS = ("## Context", "## Decision", "## Measured", "## Consequences", "## Guarded by")
TEST_PATH = re.compile(r"`(tests/[\w/.-]+?\.py)(?:::(\w+))?`")


def _decisions(root: Path) -> list[Path]:
    return sorted((root / "docs" / "adr").glob("*.md"))


def test_decisions_are_numbered_without_gaps(root: Path) -> None:
    """Files are NNNN-a-sentence.md, counted from 0001; a number is never used twice."""
    names = [path.name for path in _decisions(root)]
    assert names
    assert all(re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", name) for name in names)
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))


def test_every_decision_has_its_sections(root: Path) -> None:
    """Context, decision, what was measured, consequences and the guarding test, in this order."""
    for path in _decisions(root):
        headings = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
        assert tuple(headings) == SECTIONS, path.name


def test_every_decision_names_a_test_that_exists(root: Path) -> None:
    """A decision that no test guards is a wish."""
    missing = []
    for path in _decisions(root):
        named = TEST_PATH.findall(path.read_text(encoding="utf-8"))
        if not named:
            missing.append(f"{path.name} names no test")
        for file, function in named:
            if not (root / file).is_file():
                missing.append(f"{path.name}: {file}")
            elif function and f"def {function}(" not in (root / file).read_text(encoding="utf-8"):
                missing.append(f"{path.name}: {file}::{function}")
    assert missing == []
