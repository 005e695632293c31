"""Which set of services a program uses, and what is said when one cannot start."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

import pytest

from publishing.local import services
from publishing.local.addresses import ServiceAddresses
from publishing.local.errors import NotRunningError, RunDirectoryError
from publishing.local.services import ServiceStatus, resolve

pytestmark = pytest.mark.unit

GIVEN = {
    "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS": "broker:9092",
    "TIDEWIRE_DATABASE_URL": "postgresql://db/given",
    "TIDEWIRE_REDIS_URL": "redis://cache/0",
}


class Place:
    """A chooser that can give every address, or none; it remembers what it was asked for."""

    def __init__(self, name: str | None) -> None:
        self.name = name
        self.asked: list[list[str]] = []

    def __call__(self, run_dir: Path, wanted: Collection[str]) -> Mapping[str, str] | None:  # noqa: ARG002  - a port
        """The place's name as each address."""
        self.asked.append(list(wanted))
        return {service: f"{self.name}-{service}" for service in wanted} if self.name else None


def test_addresses_of_the_environment_come_first(tmp_path: Path) -> None:
    """With all three given, no place is asked and nothing is started."""
    place = Place("containers")
    found = resolve(GIVEN, tmp_path, choosers=[place])
    assert found == ServiceAddresses("broker:9092", "postgresql://db/given", "redis://cache/0")
    assert place.asked == []


def test_the_first_place_that_can_gives_the_rest(tmp_path: Path) -> None:
    """A place that cannot is passed over, and only what is missing is asked for."""
    closed, containers, here = Place(None), Place("containers"), Place("here")
    found = resolve({"TIDEWIRE_REDIS_URL": "redis://cache/0"}, tmp_path, choosers=[closed, containers, here])
    assert found == ServiceAddresses("containers-kafka", "containers-database", "redis://cache/0")
    assert closed.asked == containers.asked == [["kafka", "database"]]
    assert here.asked == []


def test_an_empty_variable_counts_as_none(tmp_path: Path) -> None:
    """As for the settings, an empty variable is not set."""
    found = resolve(GIVEN | {"TIDEWIRE_REDIS_URL": ""}, tmp_path, choosers=[Place("here")])
    assert found.redis == "here-redis"


def test_without_any_place_the_remedy_is_said(tmp_path: Path) -> None:
    """The error names the command that starts the services."""
    with pytest.raises(NotRunningError, match="tidewire services up"):
        resolve({}, tmp_path, choosers=[Place(None)])


def test_a_directory_without_services_is_stopped(tmp_path: Path) -> None:
    """Nothing runs, nothing is ended, and there are no addresses."""
    stopped = [ServiceStatus(service, "stopped", None, None) for service in ("kafka", "database", "redis")]
    assert services.status(tmp_path) == stopped
    assert services.stop(tmp_path) == []
    with pytest.raises(NotRunningError):
        services.addresses(tmp_path)


def test_a_run_directory_that_is_a_file_is_said(tmp_path: Path) -> None:
    """The error names the path."""
    (tmp_path / "file").touch()
    with pytest.raises(RunDirectoryError, match="file"):
        services.start(tmp_path / "file")
