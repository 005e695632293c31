"""The environment of a stream worker under test."""

import pytest


@pytest.fixture
def worker_environment(environment: dict[str, str]) -> dict[str, str]:
    """This test's settings for a child that reads no keys."""
    return {name: value for name, value in environment.items() if not name.endswith(("_TRACKING_KEYS", "_SEAL_KEYS"))}
