"""The generated pages about settings and metrics follow the code, and a stale one is named."""

from pathlib import Path

import pytest

from publishing.cli import documents

pytestmark = pytest.mark.unit


def test_the_pages_are_fresh() -> None:
    """What is committed is what the code says now."""
    assert documents.main(["--check"]) == 0


def test_a_stale_page_is_named_and_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--check names a stale page and exits 1; without it the page is written."""
    monkeypatch.setattr(documents, "FOLDER", tmp_path)
    assert documents.main(["--check"]) == 1
    assert "stale docs/generated/settings.md" in capsys.readouterr().out
    assert documents.main([]) == 0
    assert documents.main(["--check"]) == 0


def test_no_default_secret_is_shown() -> None:
    """A secret has no default; the page says that it is one."""
    lines = [line for line in documents.settings_page().splitlines() if "JWT_SECRET" in line or "_KEYS" in line]
    assert len(lines) == 3
    assert all("none (secret)" in line for line in lines)
