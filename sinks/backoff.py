"""When a delivery is tried again, and when it is not: full jitter under a cap, five attempts that count."""

from random import Random

from publishing.domain.ledger import Event, State, transition
from publishing.stores.deliveries import Result, Slot
from sinks.contract import Accepted, Ambiguous, Outcome, Refused, Retry

MAX_ATTEMPTS = 5
FIRST_S = 1.0
FACTOR = 4.0
CAP_S = 600.0
# What asked-for waits are stretched by, so that not everybody comes back at once.
SPREAD_RATIO = 0.1


def delay_s(attempt: int, random: Random) -> float:
    """Full jitter: anywhere in [0, min(600, 4 ** (attempt - 1))] seconds; the third attempt failed: up to 16 s.

    Source: https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0.0, min(CAP_S, FIRST_S * FACTOR ** (attempt - 1)))


def result_of(slot: Slot, outcome: Outcome, random: Random) -> Result:
    """What the ledger is told of an answer; a throttle costs no attempt, the fifth other failure is the last."""
    if isinstance(outcome, Accepted):
        state = transition(State.SUBMITTED, Event.ACCEPT)
        return Result(destination=slot.destination, state=state, provider_message_id=outcome.provider_message_id)
    if isinstance(outcome, Ambiguous):
        state = transition(State.SUBMITTED, Event.LOSE_ANSWER)
        return Result(destination=slot.destination, state=state, reason=outcome.reason)
    attempt = slot.attempts + 1
    if isinstance(outcome, Refused) or (not outcome.is_throttle and attempt >= MAX_ATTEMPTS):
        state = transition(State.SUBMITTED, Event.REFUSE)
        return Result(destination=slot.destination, state=state, reason=outcome.reason)
    return Result(
        destination=slot.destination,
        state=transition(State.SUBMITTED, Event.POSTPONE),
        reason=outcome.reason,
        after_s=_wait_s(outcome, attempt, random),
        is_counted=not outcome.is_throttle,
    )


def _wait_s(outcome: Retry, attempt: int, random: Random) -> float:
    if outcome.after_s is None:
        return delay_s(max(attempt, 2) if outcome.is_throttle else attempt, random)
    return outcome.after_s * (1.0 + random.uniform(0.0, SPREAD_RATIO))
