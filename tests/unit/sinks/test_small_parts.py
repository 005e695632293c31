"""The pure parts of sinks: pace, backoff, waits, frames, receipts and the limit of burials."""

import dataclasses
import itertools
from datetime import UTC, date, datetime
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.ledger import State
from publishing.domain.truncation import width
from publishing.runtime.burial import PoisonError
from publishing.stores.deliveries import Claim, Result, Slot
from schemas.codec import encode
from schemas.frames import KINDS, decode_frame
from schemas.messages import DeliveryRequested, Lane
from sinks.backoff import CAP_S, MAX_ATTEMPTS, delay_s, result_of
from sinks.contract import Accepted, Ambiguous, Outcome, Refused, Retry, gathered
from sinks.frames import poison_limit, read_frame
from sinks.pacing import LEAST_SHARE, Pacer
from sinks.receipts import receipts_of
from sinks.retry_after import body_retry_after, capped, parse_retry_after

pytestmark = pytest.mark.unit
NOW = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)


def slot_of(destination: int = 41, *, attempts: int = 0) -> Slot:
    """A slot that may be sent."""
    return Slot(
        destination=destination,
        arm=2,
        content_ids=(7,),
        scores=(0.5,),
        attempts=attempts,
        verdict=None,
        reason=None,
        locale="en",
        sealed_address=b"sealed",
        data_key=b"key",
    )


def claim_of(*slots: Slot) -> Claim:
    """A claim of these slots."""
    return Claim(
        run_id=77,
        channel_id=3,
        shard=9,
        publication_id=12,
        run_day=date(2026, 1, 5),
        claim_id=5,
        publication="Weekly",
        channel_version=1,
        lease_s=60.0,
        slots=slots,
        unplanned=0,
    )


def test_pace_spaces_messages() -> None:
    """At 2 a second with a burst of 1, three at once wait 0, 0.5 and 1 s."""
    pacer = Pacer(per_second=2.0, burst=1)
    assert [pacer.reserve(1, now_s=100.0) for _ in range(3)] == [0.0, 0.5, 1.0]
    assert pacer.reserve(1, now_s=200.0) == 0.0


@given(st.floats(0.5, 500), st.integers(1, 50), st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), max_size=40))
def test_pace_is_never_exceeded(per_second: float, burst: int, calls: list[tuple[float, int]]) -> None:
    """In no window do more messages start than the burst and the rate allow."""
    pacer = Pacer(per_second=per_second, burst=burst)
    now_s, sent = 0.0, []
    for pause_s, wanted in calls:
        now_s += pause_s
        messages = min(wanted, burst)
        sent.append((now_s + pacer.reserve(messages, now_s=now_s), messages))
    for index, (start_s, _) in enumerate(sent):
        total = 0
        for later_s, messages in sent[index:]:
            total += messages
            assert total <= burst + per_second * (later_s - start_s) + 1e-6 * total + 1e-6


def test_throttles_slow_and_acceptance_quickens() -> None:
    """A throttle halves the rate down to a floor and blocks for the asked time; acceptances bring it back."""
    pacer = Pacer(per_second=64.0, burst=10)
    pacer.throttle(now_s=0.0, after_s=30.0)
    assert pacer.rate == 32.0
    assert pacer.reserve(1, now_s=0.0) == 30.0
    for _ in range(20):
        pacer.throttle(now_s=0.0, after_s=None)
    assert pacer.share == LEAST_SHARE
    assert pacer.group == 1
    for _ in range(100):
        pacer.accept()
    assert pacer.share == 1.0
    pacer.portion = 0.25
    assert pacer.rate == 16.0


@given(st.integers(1, 20), st.integers())
def test_delays_have_full_jitter_under_a_cap(attempt: int, seed: int) -> None:
    """A delay is anywhere between nothing and the bound of its attempt."""
    assert 0 <= delay_s(attempt, Random(seed)) <= min(CAP_S, 4 ** (attempt - 1))


@pytest.mark.parametrize(
    ("outcome", "attempts", "state"),
    [
        (Accepted("m1"), 0, State.ACCEPTED),
        (Ambiguous("timeout"), 0, State.IN_DOUBT),
        (Ambiguous("timeout"), 99, State.IN_DOUBT),
        (Refused("bad"), 0, State.FAILED),
        (Retry("http_500"), 0, State.RETRY),
        (Retry("http_500"), MAX_ATTEMPTS - 2, State.RETRY),
        (Retry("http_500"), MAX_ATTEMPTS - 1, State.FAILED),
        (Retry("throttled", is_throttle=True), 99, State.RETRY),
    ],
)
def test_every_outcome_has_its_state(outcome: Outcome, attempts: int, state: State) -> None:
    """Outcomes are total: each leads to one state; the fifth failure is the last, a throttle never is."""
    assert result_of(slot_of(attempts=attempts), outcome, Random(1)).state is state


def test_an_asked_wait_is_kept() -> None:
    """No retry comes before the time that the provider named."""
    result = result_of(slot_of(), Retry("throttled", 30.0, is_throttle=True), Random(1))
    assert 30.0 <= result.after_s <= 33.0
    assert not result.is_counted


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("30000", 30.0),
        ("315360000", 3_600.0),
        ("-4", 0.0),
        ("nan", 0.0),
        ("inf", 3_600.0),
        ("Mon, 05 Jan 2026 09:01:00 GMT", 60.0),
        ("Mon, 05 Jan 2036 09:01:00 GMT", 3_600.0),
        ("Mon, 05 Jan 2016 09:01:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_in_every_form(value: str | None, seconds: float | None) -> None:
    """Seconds, milliseconds, dates, nonsense and ten years are all read as a wait of at most an hour."""
    assert parse_retry_after(value, NOW) == seconds


@given(st.floats())
def test_waits_are_capped(delta: float) -> None:
    """No number makes a wait outside [0, 3600] s."""
    assert 0.0 <= capped(delta) <= 3_600.0


@pytest.mark.parametrize(("body", "seconds"), [({"retry_after": 1.5}, 1.5), ({"retry_after": True}, None), ([], None)])
def test_retry_after_of_a_body(body: Any, seconds: float | None) -> None:
    """Discord's number of seconds is read, anything else is no answer."""
    assert body_retry_after(body) == seconds


GOOD = DeliveryRequested(
    run_id=1,
    publication_id=2,
    channel_id=3,
    shard=0,
    chunk=0,
    lane=Lane.BULK,
    template_id=0,
    template_version=0,
    destinations=(41, 42),
    arms=(0, 1),
    content_ids=((7, 9),),
    scores=((0.5, 0.25),),
)


def test_shared_articles_are_each_destinations_own() -> None:
    """One list for all is every destination's list."""
    frame = read_frame(encode(GOOD), kind="email", lane="bulk")
    assert frame.content_ids == ((7, 9), (7, 9))
    assert frame.scores == ((0.5, 0.25), (0.5, 0.25))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"lane": Lane.ALERT}, "wrong_lane"),
        ({"destinations": ()}, "shape"),
        ({"destinations": (41, 41)}, "shape"),
        ({"destinations": tuple(range(501)), "arms": (0,) * 501}, "shape"),
        ({"arms": (0,)}, "shape"),
        ({"content_ids": ((1,), (2,), (3,)), "scores": ((0.1,),) * 3}, "shape"),
        ({"scores": ((0.1,),)}, "shape"),
        ({"content_ids": ((),), "scores": ((),)}, "shape"),
        ({"content_ids": (tuple(range(51)),), "scores": ((0.0,) * 51,)}, "shape"),
    ],
)
def test_frames_of_another_shape_are_poison(change: dict[str, Any], reason: str) -> None:
    """Whatever a schema cannot say is checked before the claim."""
    with pytest.raises(PoisonError) as raised:
        read_frame(encode(dataclasses.replace(GOOD, **change)), kind="email", lane="bulk")
    assert raised.value.reason == reason


@pytest.mark.parametrize("payload", [None, b"", b"{}", b"\x00\x00\x00\x00\x63abc", b"\x00\x00\x00\x00\x06abc"])
def test_bytes_that_are_no_frame_are_poison(payload: bytes | None) -> None:
    """Every payload that does not decode is poison, with the reason of the codec."""
    with pytest.raises(PoisonError):
        read_frame(payload, kind="email", lane="bulk")


def test_receipts_say_what_the_ledger_says() -> None:
    """Accepted, failed and suppressed are events, the rest are not; the same end has the same id."""
    results = [
        Result(destination=1, state=State.ACCEPTED),
        Result(destination=2, state=State.FAILED, reason="x"),
        Result(destination=3, state=State.SUPPRESSED, reason="bounced"),
        Result(destination=4, state=State.RETRY),
        Result(destination=5, state=State.IN_DOUBT),
        Result(destination=6, state=State.EXPIRED),
    ]
    arms = dict.fromkeys(range(7), 2)
    receipts = receipts_of(claim_of(), results, arms, now_ms=1_767_603_600_000, traceparent="t", source="sink")
    again = receipts_of(claim_of(), results, arms, now_ms=1_767_603_600_000, traceparent="t", source="sink")
    assert receipts is not None
    assert receipts == again
    assert receipts.partition == 9
    events = decode_frame(receipts.frame).events
    assert [str(KINDS[e["kind"]]) for e in events] == ["accepted", "failed", "suppressed"]
    assert [int(e["destination"]) for e in events] == [1, 2, 3]
    assert {(int(e["run_id"]), int(e["channel_id"]), int(e["arm"])) for e in events} == {(77, 3, 2)}
    assert len({bytes(e["event_id"]) for e in events}) == 3
    assert receipts_of(claim_of(), results[3:], arms, now_ms=1, traceparent="t", source="s") is None


@pytest.mark.parametrize(
    ("good", "poison", "is_exceeded"), [(20, 19, False), (19, 20, True), (80, 20, False), (0, 20, True)]
)
def test_the_limit_of_burials(good: int, poison: int, is_exceeded: bool) -> None:  # noqa: FBT001
    """A sink stops when over half of the last records, and at least twenty, are poison, however slowly they come."""
    limit = poison_limit()
    for hour in range(good + poison):
        limit.note(is_poison=hour >= good, now_s=hour * 3_600.0)
    assert limit.is_exceeded is is_exceeded


@given(lines=st.lists(st.text(alphabet="ab\U0001f600", max_size=12), max_size=12))
def test_lines_are_gathered_whole_and_in_order(lines: list[str]) -> None:
    """No line is cut, lost or moved; a text is over the limit only where its one line is."""
    texts = gathered(lines, 10)
    assert [line for text in texts for line in text.split("\n")] == lines
    assert all(width(text) <= 10 or text in lines for text in texts)
    joined = itertools.pairwise(texts)
    assert all(width(first) + 1 + width(second.split("\n")[0]) > 10 for first, second in joined)
