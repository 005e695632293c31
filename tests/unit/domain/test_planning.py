"""A plan conserves its candidates and does not depend on order or on pauses."""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from publishing.domain import planning, ranking
from publishing.domain.matching import AudienceColumns, Reader, Vocabularies, columns_of
from publishing.domain.planning import Channel, Order, Plan, deadline_of, plan, rule_of
from publishing.domain.publications import Publication
from schemas.messages import ContentItem, Lane
from tests.fakes.content_items import NOW, item

pytestmark = pytest.mark.unit

HOUR = dt.timedelta(hours=1)
MAIL = Channel(id=1, kind="email", is_active=True)
SECOND_MAIL = Channel(id=2, kind="email", is_active=True)
OFF_MAIL = Channel(id=3, kind="email", is_active=False)
ROOM = Channel(id=4, kind="slack", is_active=True, destination=1_000, shard=0, topics={"go": 1.0})
OPEN_ROOM = Channel(id=5, kind="feed", is_active=True, destination=1_004, shard=0)
FAR_ROOM = Channel(id=6, kind="slack", is_active=True, destination=1_001, shard=1)
OFF_ROOM = Channel(id=7, kind="slack", is_active=False, destination=1_008, shard=0)
CHANNELS = (MAIL, SECOND_MAIL, OFF_MAIL, ROOM, OPEN_ROOM, FAR_ROOM, OFF_ROOM)


@dataclasses.dataclass(frozen=True)
class State:
    """A shard as a test makes it."""

    columns: AudienceColumns
    vocabularies: Vocabularies
    rooms: Mapping[int, tuple[int, ...]]


def state_of(readers: Sequence[Reader], rooms: Mapping[int, tuple[int, ...]] | None = None) -> State:
    """A shard of these readers."""
    vocabularies = Vocabularies()
    return State(columns_of(readers, vocabularies), vocabularies, rooms or {})


def publication(**definition: Any) -> Publication:
    """A running publication."""
    defaults = {"trigger": {"kind": "now"}, "channels": [channel.id for channel in CHANNELS]}
    return Publication.from_row({"id": 9, "version": 1, "status": "running", "definition": defaults | definition})


def planned(
    state: State, items: Sequence[ContentItem], *, channels: Sequence[Channel] = CHANNELS, **definition: Any
) -> Plan:
    """The plan of a run over a shard."""
    order = Order(run_id=77, shard=0, publication=publication(**definition), as_of=NOW, channels=channels)
    steps = plan(order, state, items, ranking.load())
    while True:
        try:
            next(steps)
        except StopIteration as end:
            made: Plan = end.value
            return made


readers = st.builds(
    Reader,
    destination=st.integers(1, 30).map(lambda number: 4 * number),
    active=st.booleans(),
    channels=st.sampled_from([frozenset(), frozenset({"email"})]),
    topics=st.dictionaries(st.sampled_from(["go", "rust"]), st.sampled_from([0.25, 0.5, 1.0]), max_size=2),
    attributes=st.sampled_from([{}, {"plan": "pro"}]),
    learned=st.dictionaries(st.just("rust"), st.just(0.5), max_size=1),
    recent=st.lists(st.integers(1, 6), max_size=6, unique=True).map(tuple),
)
items = st.builds(
    lambda number, topic, quality, age: item(
        number, topics={topic: 1.0}, quality=quality, published_at=NOW - age * HOUR
    ),
    st.integers(1, 6),
    st.sampled_from(["go", "rust", "c"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.integers(0, 100),
)
unique_items = st.lists(items, max_size=6, unique_by=lambda one: one.content_id)
definitions = st.fixed_dictionaries(
    {
        "trigger": st.sampled_from([{"kind": "now"}, {"kind": "on_content"}]),
        "content": st.sampled_from([{}, {"topics_any": ["go"]}, {"max_age_hours": 50}]),
        "audience": st.sampled_from([{}, {"attributes": {"plan": "pro"}}, {"topics_any": ["go"]}]),
        "selection": st.fixed_dictionaries(
            {"count": st.integers(1, 3), "minimum_score": st.sampled_from([0.0, 0.3, 0.6, 0.99])}
        ),
    }
)


@given(
    given_readers=st.lists(readers, max_size=12, unique_by=lambda one: one.destination),
    given_items=unique_items,
    definition=definitions,
    seen=st.lists(st.integers(1, 6), unique=True, max_size=6).map(tuple),
)
@settings(max_examples=60, deadline=None)
def test_candidates_are_planned_or_excluded_for_a_reason(
    given_readers: list[Reader], given_items: list[ContentItem], definition: dict[str, Any], seen: tuple[int, ...]
) -> None:
    """Candidates = excluded + planned; they are the readers for each mail channel, and the shard's rooms."""
    made = planned(state_of(given_readers, {1_000: seen}), given_items, **definition)
    assert made.candidates == 3 * len(given_readers) + 3
    assert made.candidates == sum(made.excluded.values()) + made.planned
    assert set(made.excluded) <= {"inactive", "channel_off", "audience_filter", "no_content", "seen"}
    by_number = {reader.destination: reader for reader in given_readers}
    for number, sent in made.sent.items():
        assert len(set(sent)) == len(sent) > 0
        ring = by_number[number].recent if number in by_number else seen if number == 1_000 else ()
        assert not set(sent) & set(ring)
        if number in by_number:
            assert by_number[number].active
            assert by_number[number].channels == {"email"}


@given(
    given_readers=st.lists(readers, max_size=12, unique_by=lambda one: one.destination),
    given_items=unique_items,
    definition=definitions,
    order=st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_a_plan_depends_on_no_order(
    given_readers: list[Reader], given_items: list[ContentItem], definition: dict[str, Any], order: Any
) -> None:
    """Readers, items and channels in another order give the same plan, frame by frame."""
    one = planned(state_of(given_readers), given_items, **definition)
    shuffled: tuple[list[Reader], list[ContentItem], list[Channel]] = (given_readers[:], given_items[:], [*CHANNELS])
    for some in shuffled:
        order.shuffle(some)
    other = planned(state_of(shuffled[0]), shuffled[1], channels=shuffled[2], **definition)
    assert other == one


@given(size=st.integers(1, 40))
@settings(max_examples=10, deadline=None)
def test_pauses_change_nothing(size: int) -> None:
    """A plan made in slices of a few readers is the plan made at once."""
    given_readers = [
        Reader(destination=4 * number, active=True, channels=frozenset({"email"}), topics={"go": number / 60})
        for number in range(1, 60)
    ]
    given_items = [item(number, topics={"go": 1.0, "c": number / 10}) for number in range(1, 9)]
    at_once = planned(state_of(given_readers), given_items)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planning, "SLICE_CELLS", size * 8)
        assert planned(state_of(given_readers), given_items) == at_once


def test_each_exclusion_has_its_reason() -> None:
    """One reader for each reason, in the order in which reasons are asked."""
    mail = frozenset({"email"})
    given_readers = [
        Reader(destination=4, active=False, channels=frozenset()),
        Reader(destination=8, active=True, channels=frozenset({"slack"})),
        Reader(destination=12, active=True, channels=mail),
        Reader(destination=16, active=True, channels=mail, attributes={"plan": "pro"}, topics={"c": 1.0}),
        Reader(destination=20, active=True, channels=mail, attributes={"plan": "pro"}, topics={"go": 1}, recent=(1,)),
        Reader(destination=24, active=True, channels=mail, attributes={"plan": "pro"}, topics={"go": 1.0}),
    ]
    made = planned(
        state_of(given_readers),
        [item(1, topics={"go": 1.0})],
        channels=[MAIL],
        audience={"attributes": {"plan": "pro"}},
        selection={"minimum_score": 0.6},
    )
    assert made.excluded == {"inactive": 1, "channel_off": 1, "audience_filter": 1, "no_content": 1, "seen": 1}
    assert made.sent == {24: (1,)}
    frame = made.frames[0]
    assert (frame.run_id, frame.publication_id, frame.chunk, frame.lane) == (77, 9, 0, Lane.BULK)
    assert frame.scores[0][0] == pytest.approx(0.6 + 0.2 * 2 ** (-1 / 72) + 0.2 * 0.5, abs=1e-6)


def test_rooms_get_what_their_topics_let_through() -> None:
    """A room with topics gets items that share one, a room without gets all, and none of them twice."""
    given_items = [item(1, topics={"go": 1.0}), item(2, topics={"rust": 1.0}), item(3, topics={"go": 0.5})]
    made = planned(state_of([], {1_000: (3,)}), given_items, trigger={"kind": "on_content"}, priority="alert")
    assert made.sent == {1_000: (1,), 1_004: (1, 2, 3)}
    assert {frame.lane for frame in made.frames} == {Lane.ALERT}
    assert made.excluded == {"inactive": 1}
    again = planned(state_of([], made.sent), given_items[:1], trigger={"kind": "on_content"})
    assert again.excluded == {"inactive": 1, "seen": 2}


@pytest.mark.parametrize(("trigger", "count"), [("now", 5), ("at", 5), ("every", 5), ("on_content", 50)])
def test_only_a_batch_of_content_is_passed_on_whole(trigger: str, count: int) -> None:
    """The count caps readers and rooms, but of a content batch a reader takes up to fifty, a room everything."""
    reader = Reader(destination=4, active=True, channels=frozenset({"email"}), topics={"go": 1.0})
    given_items = [item(number, topics={"go": 1.0}) for number in range(1, 61)]
    made = planned(state_of([reader]), given_items, trigger={"kind": trigger}, channels=[MAIL, OPEN_ROOM])
    assert len(made.sent[4]) == count
    assert len(made.sent[1_004]) == (60 if trigger == "on_content" else 5)
    assert rule_of(publication(trigger={"kind": trigger})).count == count


def test_frames_are_cut_and_numbered_over_all_channels() -> None:
    """At most 500 destinations a frame, in the order of channel and destination, numbers without a gap."""
    given_readers = [
        Reader(destination=4 * number, active=True, channels=frozenset({"email"})) for number in range(1, 1_202)
    ]
    made = planned(state_of(given_readers), [item(1)], channels=[SECOND_MAIL, MAIL, OPEN_ROOM])
    assert [frame.chunk for frame in made.frames] == list(range(7))
    assert [len(frame.destinations) for frame in made.frames] == [500, 500, 201, 500, 500, 201, 1]
    assert [frame.channel_id for frame in made.frames] == [1, 1, 1, 2, 2, 2, 5]
    sent = [number for frame in made.frames[:3] for number in frame.destinations]
    assert sent == [reader.destination for reader in given_readers]
    # Everybody gets the same: the lists are written once a frame.
    assert all(len(frame.content_ids) == len(frame.scores) == 1 for frame in made.frames)


def test_a_frame_of_long_lists_holds_fewer_destinations() -> None:
    """The items of a frame are bounded over all of its destinations."""
    given_readers = [
        Reader(destination=4 * number, active=True, channels=frozenset({"email"}), topics={"go": number / 500})
        for number in range(1, 501)
    ]
    given_items = [item(number, topics={"go": 1.0}) for number in range(1, 51)]
    made = planned(state_of(given_readers), given_items, trigger={"kind": "on_content"}, channels=[MAIL])
    assert [len(frame.destinations) for frame in made.frames] == [400, 100]


def test_a_run_chooses_from_the_newest_items() -> None:
    """Of more items than a run looks at, the oldest are not considered."""
    given_items = [item(number, published_at=NOW - number * dt.timedelta(seconds=1)) for number in range(1, 1_051)]
    made = planned(state_of([]), given_items, channels=[OPEN_ROOM], trigger={"kind": "on_content"})
    assert set(made.sent[1_004]) == set(range(1, planning.MAX_ITEMS + 1))


def test_the_deadline_counts_from_the_due_time() -> None:
    """deadline_minutes after the run is due; none when none is set."""
    assert deadline_of(publication(deadline_minutes=90), NOW) == NOW + 1.5 * HOUR
    assert deadline_of(publication(), NOW) is None
