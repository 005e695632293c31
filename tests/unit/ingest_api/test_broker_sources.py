"""What the spool sends again is known as such by those who count."""

import pytest

from ingest_api.broker import REPEATING_SOURCE
from publishing.cli.replaying.counting import REPEATING
from streams.engagement import REPEATING_SOURCES

pytestmark = pytest.mark.unit


def test_the_spools_source_is_deduplicated_by_the_stream_and_by_the_recount() -> None:
    """A frame that may have been sent before counts once on both sides, which agree about every such source."""
    assert REPEATING_SOURCE in REPEATING_SOURCES
    assert REPEATING_SOURCES == REPEATING
