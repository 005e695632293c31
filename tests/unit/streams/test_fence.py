"""The fence knows what PostgreSQL told it, by the catalogue's names."""

from collections.abc import Mapping, Sequence

import pytest
from faust.types import TP

from publishing.stores.offsets import Place
from streams.fenced import Fence, UnloadedPlaceError
from tests.fakes.streams import PARTITION, PLACE, PREFIX
from topics.catalog import CONTENT_READY, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.unit


async def offsets_of_five(places: Sequence[Place]) -> Mapping[Place, int]:
    """Five for whatever is asked."""
    return dict.fromkeys(places, 5)


def fence_over_engagement() -> Fence:
    """A fence that watches one topic."""
    fence = Fence(PREFIX, offsets_of_five)
    fence.watch(ENGAGEMENT_RECORDED)
    return fence


def test_places_are_named_without_the_prefix() -> None:
    """The offsets of an installation do not change when its prefix does."""
    assert fence_over_engagement().place(PARTITION) == PLACE


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        (PREFIX + ENGAGEMENT_RECORDED.name, True),
        (ENGAGEMENT_RECORDED.name, False),
        (PREFIX + CONTENT_READY.name, False),
        (PREFIX + PREFIX + ENGAGEMENT_RECORDED.name, False),
    ],
)
def test_only_watched_topics_of_this_installation_are_fenced(topic: str, expected: object) -> None:
    """Changelogs, unfenced topics and other installations' topics keep the group's positions."""
    assert fence_over_engagement().is_watched(TP(topic, 0)) is expected


async def test_an_unloaded_place_is_an_error() -> None:
    """An offset is never guessed."""
    fence = fence_over_engagement()
    assert not fence.is_loaded(PARTITION)
    with pytest.raises(UnloadedPlaceError, match="engagement"):
        fence.expected(PARTITION)
    await fence.load([PARTITION])
    assert fence.expected(PARTITION) == 5


async def test_a_reload_takes_every_place_it_returns() -> None:
    """One snapshot of a shard brings the offsets of all its topics."""

    async def snapshot(_: Sequence[Place]) -> Mapping[Place, int]:
        return {PLACE: 8, Place(CONTENT_READY.name, 3): 9}

    fence = fence_over_engagement()
    fence.reload_with(snapshot)
    await fence.load([PARTITION])
    assert fence.expected(PARTITION) == 5
    await fence.reload(PARTITION)
    assert fence.expected(PARTITION) == 8
    assert fence.expected(TP(PREFIX + CONTENT_READY.name, 3)) == 9


async def test_a_loader_may_serve_both() -> None:
    """An app whose positions are more than offsets loads them its own way at assignment, too."""

    async def nine(places: Sequence[Place]) -> Mapping[Place, int]:
        return dict.fromkeys(places, 9)

    fence = fence_over_engagement()
    fence.load_with(nine)
    await fence.load([PARTITION])
    assert fence.expected(PARTITION) == 9
    fence.advanced(PARTITION, 10)
    assert fence.expected(PARTITION) == 10
