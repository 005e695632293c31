"""What stops a delivery stops it at its claim and again at its submission, with the same verdict."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from publishing.domain.ledger import State
from publishing.stores import deliveries
from publishing.stores.deliveries import Claim, Claimant
from publishing.stores.offsets import Place
from sinks.frames import read_frame
from tests.fakes.sink_stage import Planned, Stage
from topics.catalog import DELIVERY

pytestmark = pytest.mark.integration

TOPIC = DELIVERY["email", "bulk"]
CLAIMANT = Claimant("sink-email-bulk")
SUPPRESS = "INSERT INTO publishing_suppressions SELECT s.id, {scope}, 'bounced', 'test' FROM publishing_subscribers s"
# From what yields to everything to what nothing yields to.
CAUSES: Mapping[str, tuple[str, tuple[State, str]]] = {
    "run paused": ("UPDATE publishing_runs SET status = 'paused'", (State.DEFERRED, "paused")),
    "publication paused": ("UPDATE publishing_publications SET status = 'paused'", (State.DEFERRED, "paused")),
    "no address": (
        "UPDATE publishing_subscribers SET data_key = NULL, email_sealed = NULL",
        (State.SUPPRESSED, "no_address"),
    ),
    "channel off": (
        "UPDATE publishing_subscribers SET channels = '{\"email\": false}'",
        (State.SUPPRESSED, "channel_off"),
    ),
    "unsubscribed": ("UPDATE publishing_subscribers SET status = 'unsubscribed'", (State.SUPPRESSED, "unsubscribed")),
    "suppressed": (SUPPRESS.format(scope="'all'"), (State.SUPPRESSED, "bounced")),
    "suppressed for the kind": (SUPPRESS.format(scope="'email'"), (State.SUPPRESSED, "bounced")),
    "suppressed for the channel": (
        SUPPRESS.format(scope="(SELECT 'channel:' || c.id FROM publishing_channels c)"),
        (State.SUPPRESSED, "bounced"),
    ),
    "channel disabled": ("UPDATE publishing_channels SET status = 'disabled'", (State.FAILED, "channel_disabled")),
    "deadline": (
        """UPDATE publishing_runs SET deadline_at = now() - interval '1 s';
           UPDATE publishing_deliveries SET deadline_at = now() - interval '1 s'""",
        (State.EXPIRED, "deadline"),
    ),
    "run cancelled": ("UPDATE publishing_runs SET status = 'cancelled'", (State.CANCELLED, "cancelled")),
    "publication cancelled": (
        "UPDATE publishing_publications SET status = 'cancelled'",
        (State.CANCELLED, "cancelled"),
    ),
}
ORDER = ("run paused", "suppressed", "channel disabled", "deadline", "publication cancelled")
Plans = Callable[[], Awaitable[Planned]]


@pytest.fixture
async def plans(stage: Stage) -> Plans:
    """A function that plans another run of one mail to the same two readers."""
    channel, _ = await stage.channel("email", {"sender": "News <news@example.org>"})
    readers, content = await stage.subscribers(2), await stage.content(1)

    async def planned() -> Planned:
        return await stage.plan("email", channel, readers, content)

    return planned


async def claimed(stage: Stage, planned: Planned, *, expected: int) -> Claim:
    """The claim of a plan's frame."""
    frame = read_frame(planned.frame, kind="email", lane="bulk")
    return await deliveries.claim(
        stage.pool, CLAIMANT, Place(TOPIC.name, 0), frame, expected=expected, after=expected + 1
    )


async def verdicts(stage: Stage, plans: Plans, *causes: str) -> list[dict[int, tuple[State | None, str | None]]]:
    """What submission says when the causes come after the claim, and what the claim says when they came before."""
    early, late = await plans(), await plans()
    claim = await claimed(stage, early, expected=0)
    assert [(slot.verdict, slot.reason) for slot in claim.slots] == [(None, None)] * 2
    for cause in causes:
        await stage.pool.execute(CAUSES[cause][0])
    sendable, refused = await deliveries.submit(stage.pool, claim, early.destinations)
    assert sendable | refused.keys() == set(early.destinations)
    slots = (await claimed(stage, late, expected=1)).slots
    return [
        {number: refused.get(number, (None, None)) for number in early.destinations},
        {slot.destination: (slot.verdict, slot.reason) for slot in slots},
    ]


@pytest.mark.parametrize("cause", CAUSES)
async def test_each_cause_stops_at_the_claim_and_at_the_submission(stage: Stage, plans: Plans, cause: str) -> None:
    """Both statements give every destination the one state and reason of the cause."""
    submitted, claimed_late = await verdicts(stage, plans, cause)
    assert submitted == claimed_late
    assert set(submitted.values()) == {CAUSES[cause][1]}


@pytest.mark.parametrize("count", range(2, len(ORDER) + 1))
async def test_of_several_causes_both_take_the_same(stage: Stage, plans: Plans, count: int) -> None:
    """A cancellation is above a deadline, that above a channel's end, that above a suppression, that above a pause."""
    submitted, claimed_late = await verdicts(stage, plans, *ORDER[:count])
    assert submitted == claimed_late
    assert set(submitted.values()) == {CAUSES[ORDER[count - 1]][1]}


async def test_nothing_stops_what_nothing_is_said_against(stage: Stage, plans: Plans) -> None:
    """Without a cause everything may be sent."""
    submitted, claimed_late = await verdicts(stage, plans)
    assert submitted == claimed_late
    assert set(submitted.values()) == {(None, None)}
