"""Where the local services keep things."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from publishing.local import folders
from publishing.local.daemons import Account
from publishing.local.folders import cache_dir, default_run_dir, folder_for, is_open_to_all, make_run_dir, number_of

pytestmark = pytest.mark.unit


def test_the_cache_follows_the_standard_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """XDG_CACHE_HOME names where the cache is (XDG Base Directory Specification)."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "tidewire"
    assert default_run_dir() == tmp_path / "tidewire" / "run"


def test_a_run_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    """The answer is absolute, and a second call changes nothing."""
    made = make_run_dir(tmp_path / "a b" / "run")
    assert made.is_dir()
    assert make_run_dir(made) == made


def test_one_closed_folder_closes_the_way(tmp_path: Path) -> None:
    """A folder is open to all only with every folder above it."""
    inner = tmp_path / "closed" / "inner"
    inner.mkdir(parents=True)
    inner.chmod(0o755)
    (tmp_path / "closed").chmod(0o700)
    assert not is_open_to_all(inner)
    assert is_open_to_all(Path("/"))


def test_directories_have_numbers_of_their_own(tmp_path: Path) -> None:
    """The same path gives the same number, another path another."""
    assert number_of(tmp_path) == number_of(tmp_path)
    assert number_of(tmp_path) != number_of(tmp_path / "x")


def test_an_ordinary_user_keeps_data_in_the_run_directory(tmp_path: Path) -> None:
    """Without another account the folder is simply there, and private."""
    folder = folder_for(None, tmp_path, "postgres")
    assert folder == tmp_path / "postgres"
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.fixture
def own_account(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Account:
    """The present account as the one to hand data to, and a public folder of the test's own."""
    (tmp_path / "public").mkdir()
    monkeypatch.setattr(folders, "public_dir", lambda: tmp_path / "public")
    return Account(os.geteuid(), os.getegid())


def test_data_moves_out_of_a_closed_run_directory(tmp_path: Path, own_account: Account) -> None:
    """The folder is in the public place, the run directory links to it, and a second start finds it again."""
    run_dir = tmp_path / "run"
    run_dir.mkdir(mode=0o700)
    folder = folder_for(own_account, run_dir, "postgres")
    assert folder.is_relative_to(tmp_path / "public")
    assert folder_for(own_account, run_dir, "postgres") == folder


def test_data_of_a_removed_run_directory_is_removed(tmp_path: Path, own_account: Account) -> None:
    """The next start clears what no run directory links to any more."""
    for name in ("gone", "kept", "new"):
        (tmp_path / name).mkdir(mode=0o700)
    gone = folder_for(own_account, tmp_path / "gone", "postgres")
    kept = folder_for(own_account, tmp_path / "kept", "postgres")
    (tmp_path / "gone" / "postgres").unlink()
    folder_for(own_account, tmp_path / "new", "postgres")
    assert not gone.exists()
    assert kept.exists()


def test_data_of_a_running_server_is_never_removed(tmp_path: Path, own_account: Account) -> None:
    """A server whose run directory was removed keeps its files while it runs."""
    (tmp_path / "gone").mkdir(mode=0o700)
    gone = folder_for(own_account, tmp_path / "gone", "postgres")
    (gone / "cluster").mkdir()
    (gone / "cluster" / "postmaster.pid").write_text(f"{os.getpid()}\n")
    (tmp_path / "gone" / "postgres").unlink()
    (tmp_path / "new").mkdir(mode=0o700)
    folder_for(own_account, tmp_path / "new", "postgres")
    assert gone.exists()
