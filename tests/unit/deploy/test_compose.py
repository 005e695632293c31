"""The compose file and the image name only what exists."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from publishing.cli.run import PROCESSES
from publishing.runtime.settings import PREFIX, Settings
from topics.catalog import DELIVERY

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SECRETS = {"JWT_SECRET", "TRACKING_KEYS", "SEAL_KEYS", "JWT_ISSUER"}
SERVERS = {"kafka", "postgres", "valkey"}


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_has_an_image_and_waits_for_what_exists(name: str) -> None:
    """Image, known dependencies with a condition that they can meet, declared volumes, and a health check."""
    service = SERVICES[name]
    assert service["image"]
    for needed, how in service.get("depends_on", {}).items():
        ends = SERVICES[needed]["restart"] == "no"
        assert how["condition"] == ("service_completed_successfully" if ends else "service_healthy")
    for volume in service.get("volumes", ()):
        assert volume.partition(":")[0] in COMPOSE["volumes"]
    assert service["healthcheck"].keys() & {"test", "disable"}


@pytest.mark.parametrize("name", sorted(SERVICES.keys() - SERVERS))
def test_a_process_gets_settings_that_exist(name: str) -> None:
    """Each variable is a setting, and each secret must be given: it has no default."""
    for variable, text in SERVICES[name]["environment"].items():
        field = variable.removeprefix(PREFIX).lower()
        assert field in Settings.model_fields
        if variable.removeprefix(PREFIX) in SECRETS:
            assert text.startswith("${" + variable + ":?")
    assert "${POSTGRES_PASSWORD:?" in SERVICES[name]["environment"]["TIDEWIRE_DATABASE_URL"]


def test_every_process_runs() -> None:
    """Each process of `tidewire run`, and a sink for each kind and lane of the catalogue, is a service."""
    commands = {tuple(service["command"]) for service in SERVICES.values() if "command" in service}
    sinks = {("run", "sink", "--kind", kind, "--lane", lane) for kind, lane in DELIVERY}
    assert sinks | {("run", process) for process in PROCESSES} <= commands


def test_no_line_holds_a_secret() -> None:
    """Passwords and keys come from the environment only."""
    text = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for name, value in re.findall(r"^\s+(\w*(?:PASSWORD|SECRET|KEYS)\w*): (.*)$", text, flags=re.MULTILINE):
        assert value.startswith("${" + name + ":?")


def test_the_image_copies_every_package_and_keeps_root_out() -> None:
    """Each package of the wheel is copied and let through .dockerignore; hashes are required; the user is not root."""
    lines = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8").splitlines()
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for package in ("topics", "schemas", "publishing", "migrations", "streams", "ingest_api", "sinks"):
        assert f"COPY {package} {package}" in lines
        assert f"!{package}" in ignored
    assert any("--require-hashes -r /tmp/requirements.lock" in line for line in lines)
    assert "USER tidewire" in lines
    assert lines.index("USER tidewire") < next(n for n, line in enumerate(lines) if line.startswith("ENTRYPOINT"))


def test_lock_files_name_packages_versions_and_hashes_only() -> None:
    """No address of a download is in a lock file, and every package has a hash."""
    for name in ("requirements.lock", "requirements-dev.lock"):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert "://" not in text
        assert "--index" not in re.sub(r"(?m)^#.*$", "", text)
        packages = re.findall(r"(?m)^[a-z0-9._-]+(?:\[[a-z,]+\])?==.*$", text)
        assert packages
        assert all(line.endswith("\\") for line in packages)
