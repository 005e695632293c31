"""Learning: which clicks of a frame teach a reader's interests."""

from collections import Counter

import pytest

from publishing.domain.verdicts import FLAG_BURST, FLAG_OUTSIDE_ID, FLAG_UNLEARNED
from schemas.frames import KIND_INDEX, VERDICT_INDEX, EventFrame, new_events
from schemas.messages import EngagementKind, Verdict
from streams.learning import clicks_of

pytestmark = pytest.mark.unit


def frame(*rows: tuple[EngagementKind, Verdict, int, int]) -> EventFrame:
    """A frame of events of reader 41: kind, verdict, flags and article."""
    events = new_events(len(rows))
    events["destination"] = 41
    events["kind"] = [KIND_INDEX[kind] for kind, _, _, _ in rows]
    events["verdict"] = [VERDICT_INDEX[verdict] for _, verdict, _, _ in rows]
    events["flags"] = [flags for _, _, flags, _ in rows]
    events["content_id"] = [article for _, _, _, article in rows]
    return EventFrame("test", 0, events)


@pytest.mark.parametrize("others", [0, FLAG_OUTSIDE_ID, FLAG_BURST, FLAG_OUTSIDE_ID | FLAG_BURST])
def test_a_click_that_must_not_be_learned_from_teaches_nothing(others: int) -> None:
    """A click under the policy `pseudonymous` is left out whatever else its flags say; the next one is not."""
    clicked, human = EngagementKind.CLICKED, Verdict.HUMAN
    found = clicks_of([frame((clicked, human, FLAG_UNLEARNED | others, 1), (clicked, human, others, 2))])
    assert found == Counter({(41, 2): 1})


def test_only_clicks_of_humans_on_articles_teach() -> None:
    """Opens, machines, the unknown, and links of no article teach nothing; each click of a frame counts."""
    clicked, human = EngagementKind.CLICKED, Verdict.HUMAN
    found = clicks_of(
        [
            frame(
                (EngagementKind.OPENED, human, 0, 1),
                (clicked, Verdict.MACHINE, 0, 2),
                (clicked, Verdict.UNKNOWN, 0, 3),
                (clicked, human, 0, 0),
                (clicked, human, 0, 4),
            ),
            frame((clicked, human, 0, 4)),
        ]
    )
    assert found == Counter({(41, 4): 2})
