"""How addresses are said to a shell."""

from __future__ import annotations

import subprocess

import pytest

from publishing.local.addresses import VARIABLES, ServiceAddresses
from publishing.runtime.settings import PREFIX, Settings

pytestmark = pytest.mark.unit

ADDRESSES = ServiceAddresses(
    "127.0.0.1:9092", "postgresql://tidewire@127.0.0.1:5432/tide$wire", "redis://127.0.0.1:1/0"
)


def test_export_lines_come_back_from_a_shell_as_they_are() -> None:
    """Quoting keeps every character, a dollar too."""
    script = "\n".join([*ADDRESSES.export_lines(), *(f'echo "${name}"' for name in ADDRESSES.environment())])
    answer = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True, env={})
    assert answer.stdout.splitlines() == list(ADDRESSES.environment().values())


def test_the_variables_are_settings() -> None:
    """Each name printed is a setting that processes read."""
    assert {name.removeprefix(PREFIX).lower() for name in VARIABLES.values()} <= set(Settings.model_fields)
