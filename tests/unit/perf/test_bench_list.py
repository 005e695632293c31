"""`python -m perf`: the list of benches and the running of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from perf.__main__ import find_benches, main

pytestmark = pytest.mark.unit


def test_benches_are_the_modules_of_the_folder(tmp_path: Path) -> None:
    """Each public module is listed with the first line of its docstring; packages and private modules are not."""
    (tmp_path / "codec.py").write_text('"""Codec against its peers.\n\nMore."""\n')
    (tmp_path / "alone.py").write_text("x = 1\n")
    (tmp_path / "__init__.py").write_text("")
    (tmp_path / "readers").mkdir()
    assert list(find_benches(tmp_path)) == [("alone", ""), ("codec", "Codec against its peers.")]


def test_an_unknown_bench_is_a_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """The exit status is 2 and the message names the benches."""
    assert main(["no-such-bench"]) == 2
    assert "no bench is named no-such-bench" in capsys.readouterr().err


def test_the_list_is_printed_without_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    """`python -m perf` alone prints one line for each bench."""
    assert main([]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(list(find_benches()))
