"""The environment of a stream worker under test."""

import pytest

KEYS = ("TIDEWIRE_TRACKING_KEYS", "TIDEWIRE_SEAL_KEYS")


@pytest.fixture
def worker_environment(environment: dict[str, str]) -> dict[str, str]:
    """The installation's variables, without the keys that a stream worker has no use for."""
    return {name: value for name, value in environment.items() if name not in KEYS}
