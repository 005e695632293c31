"""The life of a delivery is a total table."""

import itertools

import pytest

from publishing.domain import ledger
from publishing.domain.ledger import CLAIMABLE, TERMINAL, Event, LedgerError, State, transition

pytestmark = pytest.mark.unit

PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_every_pair_is_a_state_or_an_error(state: State, event: Event) -> None:
    """Every (state, event) pair either leads to a state or raises LedgerError that names both."""
    if state in ledger.sources(event):
        assert isinstance(transition(state, event), State)
        return
    with pytest.raises(LedgerError) as raised:
        transition(state, event)
    assert (raised.value.state, raised.value.event) == (state, event)


@pytest.mark.parametrize("state", State)
def test_nothing_is_sent_twice(state: State) -> None:
    """A delivery that may be with the provider is never claimable again except by an answer that says it is not."""
    reachable = {state}
    for _ in State:
        reachable |= {transition(each, event) for each in reachable for event in Event if each in ledger.sources(event)}
    if state in TERMINAL:
        assert not reachable & (CLAIMABLE | {State.CLAIMED, State.SUBMITTED})


def test_lost_answers_are_not_retries() -> None:
    """Whatever is submitted and unanswered becomes in_doubt, never retry."""
    assert transition(State.SUBMITTED, Event.LOSE_ANSWER) is State.IN_DOUBT
    assert transition(State.SUBMITTED, Event.LEASE_END) is State.IN_DOUBT
    assert transition(State.CLAIMED, Event.LEASE_END) is State.RETRY


def test_only_a_claim_leads_to_the_provider() -> None:
    """Nothing is submitted but what is claimed."""
    assert ledger.sources(Event.SUBMIT) == {State.CLAIMED}
    assert ledger.sources(Event.CLAIM) == CLAIMABLE


def test_every_state_is_reachable_and_ends() -> None:
    """From planned every state can be reached, and from every state a terminal one."""
    reachable = {State.PLANNED}
    for _ in State:
        reachable |= {transition(s, e) for s in reachable for e in Event if s in ledger.sources(e)}
    assert reachable == set(State)
    for state in State:
        ahead = {state}
        for _ in State:
            ahead |= {transition(s, e) for s in ahead for e in Event if s in ledger.sources(e)}
        assert ahead & TERMINAL


@pytest.mark.parametrize("event", [Event.ACCEPT, Event.DELIVER, Event.BOUNCE, Event.COMPLAIN])
@pytest.mark.parametrize("state", [State.ACCEPTED, State.DELIVERED, State.BOUNCED, State.COMPLAINED])
def test_repeated_reports_change_nothing(state: State, event: Event) -> None:
    """A provider's report that arrives twice has the effect of one."""
    once = transition(state, event)
    assert transition(once, event) is once


def test_unstored_state() -> None:
    """Only the absence of a row is planned: nothing leads back to it."""
    assert all(transition(s, e) is not State.PLANNED for s, e in PAIRS if s in ledger.sources(e))
