"""Owns the life of a delivery: its states, what can happen to it, and the total table of what follows from what."""

from enum import StrEnum


class State(StrEnum):
    """Where a delivery stands; `planned` is the absence of a row."""

    PLANNED = "planned"
    CLAIMED = "claimed"
    SUBMITTED = "submitted"
    ACCEPTED = "accepted"
    DELIVERED = "delivered"
    BOUNCED = "bounced"
    COMPLAINED = "complained"
    SUPPRESSED = "suppressed"
    CAPPED = "capped"
    DEFERRED = "deferred"
    RETRY = "retry"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    FAILED = "failed"
    IN_DOUBT = "in_doubt"


class Event(StrEnum):
    """What can happen to a delivery."""

    CLAIM = "claim"
    SUBMIT = "submit"
    ACCEPT = "accept"
    POSTPONE = "postpone"
    REFUSE = "refuse"
    LOSE_ANSWER = "lose_answer"
    LEASE_END = "lease_end"
    HAND_BACK = "hand_back"
    SUPPRESS = "suppress"
    CAP = "cap"
    DEFER = "defer"
    EXPIRE = "expire"
    CANCEL = "cancel"
    DELIVER = "deliver"
    BOUNCE = "bounce"
    COMPLAIN = "complain"


class LedgerError(Exception):
    """A delivery in this state cannot meet this event: the caller acts on a row that is not its own; read it again."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"{self.__doc__} (state {state}, event {event})")
        self.state = state
        self.event = event


# The sender has nothing more to do; only the provider's or the reader's word can still move these.
TERMINAL = frozenset(
    {
        State.ACCEPTED,
        State.DELIVERED,
        State.BOUNCED,
        State.COMPLAINED,
        State.SUPPRESSED,
        State.CAPPED,
        State.EXPIRED,
        State.CANCELLED,
        State.FAILED,
    }
)
# A claim may take a delivery that is in one of these, once it is due.
CLAIMABLE = frozenset({State.PLANNED, State.RETRY, State.DEFERRED})

# What a check before the provider's call decides, in a claim or just before the submission.
_CHECKED = {
    Event.SUPPRESS: State.SUPPRESSED,
    Event.CAP: State.CAPPED,
    Event.DEFER: State.DEFERRED,
    Event.EXPIRE: State.EXPIRED,
    Event.CANCEL: State.CANCELLED,
    Event.REFUSE: State.FAILED,
}
# What the provider says of a message that it has; it may overtake our own record of the acceptance.
_REPORTED = {Event.DELIVER: State.DELIVERED, Event.BOUNCE: State.BOUNCED, Event.COMPLAIN: State.COMPLAINED}
_ANSWERED = {Event.ACCEPT: State.ACCEPTED, Event.POSTPONE: State.RETRY, Event.REFUSE: State.FAILED}

_TABLE: dict[State, dict[Event, State]] = {
    State.PLANNED: {Event.CLAIM: State.CLAIMED, **_CHECKED},
    State.RETRY: {Event.CLAIM: State.CLAIMED, **_CHECKED},
    State.DEFERRED: {Event.CLAIM: State.CLAIMED, **_CHECKED},
    State.CLAIMED: {
        Event.SUBMIT: State.SUBMITTED,
        Event.HAND_BACK: State.RETRY,
        # Nothing was sent: the next claim may take it at once.
        Event.LEASE_END: State.RETRY,
        **_CHECKED,
    },
    State.SUBMITTED: {
        **_ANSWERED,
        **_REPORTED,
        Event.LOSE_ANSWER: State.IN_DOUBT,
        # Something may have been sent: only evidence may move it on.
        Event.LEASE_END: State.IN_DOUBT,
    },
    State.IN_DOUBT: {**_ANSWERED, **_REPORTED, Event.LOSE_ANSWER: State.IN_DOUBT, Event.LEASE_END: State.IN_DOUBT},
    State.ACCEPTED: {Event.ACCEPT: State.ACCEPTED, **_REPORTED},
    State.DELIVERED: {
        Event.ACCEPT: State.DELIVERED,
        Event.DELIVER: State.DELIVERED,
        Event.BOUNCE: State.BOUNCED,
        Event.COMPLAIN: State.COMPLAINED,
    },
    State.BOUNCED: {
        Event.ACCEPT: State.BOUNCED,
        Event.DELIVER: State.BOUNCED,
        Event.BOUNCE: State.BOUNCED,
        Event.COMPLAIN: State.COMPLAINED,
    },
    State.COMPLAINED: {
        Event.ACCEPT: State.COMPLAINED,
        Event.DELIVER: State.COMPLAINED,
        Event.BOUNCE: State.COMPLAINED,
        Event.COMPLAIN: State.COMPLAINED,
    },
    State.SUPPRESSED: {},
    State.CAPPED: {},
    State.EXPIRED: {},
    State.CANCELLED: {},
    State.FAILED: {},
}


def transition(state: State, event: Event) -> State:
    """The state that follows; raises LedgerError when the event cannot meet a delivery in this state."""
    try:
        return _TABLE[state][event]
    except KeyError:
        raise LedgerError(state, event) from None


def sources(event: Event) -> frozenset[State]:
    """The states in which a delivery can meet an event: what a statement's WHERE clause must ask for."""
    return frozenset(state for state, row in _TABLE.items() if event in row)
