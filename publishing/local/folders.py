"""Owns where the local services keep things: the user's cache, run directories, folders that other accounts reach."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import zlib
from pathlib import Path
from typing import Final

from publishing.local.daemons import Account, start_time_of
from publishing.local.errors import MissingPackageError, RunDirectoryError
from publishing.local.records import locked

SYSTEM_CACHE: Final = Path("/var/cache/tidewire")
ORIGIN: Final = ".origin"
"""Beside a folder outside its run directory: the file that says which link leads to it."""


def cache_dir() -> Path:
    """The user's cache of downloads (XDG_CACHE_HOME or what the system has for it)."""
    try:
        from platformdirs import user_cache_path
    except ImportError as absent:
        raise MissingPackageError("platformdirs", "TIDEWIRE_DATABASE_URL") from absent
    return user_cache_path("tidewire")


def default_run_dir() -> Path:
    """Where the services of a user keep their data unless told otherwise."""
    return cache_dir() / "run"


def make_run_dir(run_dir: Path) -> Path:
    """Create the directory when needed and give its absolute path; raises RunDirectoryError when that is impossible."""
    path = run_dir.expanduser().absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as refused:
        raise RunDirectoryError(path, refused.strerror or str(refused)) from refused
    return path


def is_open_to_all(path: Path) -> bool:
    """Whether every account can walk through the folder and all folders above it."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in (path, *path.parents))


def public_dir() -> Path:
    """A folder that every account can read, for what root hands to an unprivileged server."""
    for candidate in (SYSTEM_CACHE, Path(tempfile.gettempdir()) / f"tidewire-{os.geteuid()}"):
        try:
            candidate.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError:
            continue
        if candidate.stat().st_uid == os.geteuid() and is_open_to_all(candidate):
            return candidate
    raise RunDirectoryError(SYSTEM_CACHE, "no folder that every account can read")


def folder_for(account: Account | None, run_dir: Path, name: str) -> Path:
    """A private folder of the account called `name` in the run directory; where it cannot walk there, a link to one."""
    folder = run_dir / name
    if account is None:
        folder.mkdir(mode=0o700, exist_ok=True)
        return folder
    if is_open_to_all(run_dir) and not folder.is_symlink():
        folder.mkdir(mode=0o700, exist_ok=True)
        os.chown(folder, account.uid, account.gid)
        return folder
    home = public_dir() / "data"
    home.mkdir(mode=0o755, exist_ok=True)
    with locked(home):
        _remove_orphans(home)
        if not folder.is_symlink():
            target = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=home))
            os.chown(target, account.uid, account.gid)
            (home / f"{target.name}{ORIGIN}").write_text(str(folder), encoding="utf-8")
            folder.symlink_to(target)
    return folder.resolve()


def _remove_orphans(home: Path) -> None:
    """Remove the folders whose run directory is gone, unless a server still runs there."""
    for origin in home.glob(f"*{ORIGIN}"):
        target = origin.with_suffix("")
        link = Path(origin.read_text(encoding="utf-8"))
        if link.is_symlink() and link.readlink() == target:
            continue
        lock_file = target / "cluster" / "postmaster.pid"
        if lock_file.exists() and start_time_of(int(lock_file.read_text().split()[0])):
            continue
        shutil.rmtree(target, ignore_errors=True)
        origin.unlink(missing_ok=True)


def number_of(path: Path) -> int:
    """A stable number of a path, so that different run directories start from different ports and folders."""
    return zlib.crc32(os.fsencode(path))
