"""Owns where the local services keep things: per-user cache, run directories, and folders another account can reach."""

from __future__ import annotations

import os
import stat
import tempfile
import zlib
from pathlib import Path
from typing import Final

from publishing.local.errors import MissingPackageError, RunDirectoryError

SYSTEM_CACHE: Final = Path("/var/cache/tidewire")


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


def number_of(path: Path) -> int:
    """A stable number of a path, so that different run directories start from different ports and folders."""
    return zlib.crc32(os.fsencode(path))
