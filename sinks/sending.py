"""What happens to a claim: render, pace, submit, deliver, record; in groups of about a second's worth."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

from publishing.domain.ledger import Event, State, transition
from publishing.runtime import metrics
from publishing.runtime.clock import monotonic_s, now_ms, utc_now
from publishing.runtime.correlation import current_traceparent
from publishing.runtime.failpoints import failpoint
from publishing.runtime.logs import get_logger
from publishing.stores import deliveries
from publishing.stores.deliveries import Claim, Result, Slot
from sinks.backoff import result_of
from sinks.composing import Composer, OpenChannel, UnusableChannelError
from sinks.contract import Accepted, Ambiguous, Article, Channel, Outcome, Refused, RenderError, Retry
from sinks.leaving import Leave
from sinks.linking import RunLinks
from sinks.patience import patiently
from sinks.receipts import receipts_of

# A wait beyond this gives the rest of the frame back, so that one slow channel does not hold up the others.
MAX_WAIT_S = 10.0
# A paused run is looked at again this often.
DEFERRED_S = 30.0
POLL_S = 0.5

Answer = TypeVar("Answer")
Publish = Callable[[deliveries.Receipts, int], Awaitable[None]]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """All that sending needs; `publish` produces the receipts that a row of the outbox holds."""

    pool: deliveries.Pool
    channel: Channel
    connection: Any
    composer: Composer
    publish: Publish
    consumer: str
    lane: str
    random: Random


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """Slots whose messages are rendered, and results of those that can have none."""

    messages: Mapping[int, Any]
    results: Sequence[Result]


class Sending:
    """The work on one claim."""

    def __init__(self, desk: Desk, claim: Claim, leave: Leave, *, arrived_s: float) -> None:
        self._desk = desk
        self._claim = claim
        self._leave = leave
        self._arrived_s = arrived_s
        self._arms = {slot.destination: slot.arm for slot in claim.slots}

    async def run(self) -> None:
        """Bring every slot to a state that is recorded, or give it back."""
        refused = [slot for slot in self._claim.slots if slot.verdict is not None]
        await self._record([_unsent(slot.destination, slot.verdict, slot.reason) for slot in refused if slot.verdict])
        ready = [slot for slot in self._claim.slots if slot.verdict is None]
        if not ready:
            return
        try:
            channel = await self._desk.composer.channel(self._claim.channel_id, self._claim.channel_version)
        except UnusableChannelError as error:
            await self._record([_unsent(slot.destination, State.FAILED, error.reason) for slot in ready])
            return
        articles = await self._patiently(lambda: self._articles(ready))
        parts = self._desk.composer.signed(self._claim.run_id, articles)
        while ready:
            group, ready = ready[: channel.pacer.group], ready[channel.pacer.group :]
            if not await self._wait_turn(channel, len(group)):
                return
            prepared = self._prepared(channel, group, articles, parts)
            failpoint("sink.after_render")
            await self._send(channel, group, prepared)

    async def _articles(self, slots: Sequence[Slot]) -> dict[int, Article]:
        return await self._desk.composer.articles({number for slot in slots for number in slot.content_ids})

    async def _wait_turn(self, channel: OpenChannel, messages: int) -> bool:
        """Wait for the channel's pace; False when what is left of the claim was given back instead."""
        wait_s = 0.0 if self._leave.is_asked else channel.pacer.reserve(messages, now_s=monotonic_s())
        if wait_s <= MAX_WAIT_S:
            await self._leave.sleep(wait_s)
        if not self._leave.is_asked and wait_s <= MAX_WAIT_S:
            return True
        after_s = 0.0 if self._leave.is_asked else wait_s
        reason = "handed_back" if self._leave.is_asked else "paced"
        await self._patiently(
            lambda: deliveries.hand_back(self._desk.pool, self._claim, after_s=after_s, reason=reason)
        )
        log.info("claim.handed_back", reason=reason, after_s=round(after_s, 3), run_id=self._claim.run_id)
        return False

    def _prepared(
        self, channel: OpenChannel, group: Sequence[Slot], articles: Mapping[int, Article], parts: RunLinks
    ) -> Prepared:
        """Render a group; what cannot be rendered has its result instead, and holds up nobody."""
        messages: dict[int, Any] = {}
        results = []
        now = utc_now()
        for slot in group:
            try:
                letter = self._desk.composer.letter(self._claim, slot, articles=articles, parts=parts, now=now)
                if not letter.items:
                    results.append(_unsent(slot.destination, State.CANCELLED, "no_content"))
                    continue
                messages[slot.destination] = self._desk.channel.render(letter, channel.config)
            except RenderError as error:
                results.append(_unsent(slot.destination, State.FAILED, error.reason))
            except Exception as error:  # noqa: BLE001  - one message that cannot be rendered is one failed delivery
                log.warning("render.failed", error=type(error).__name__, channel_id=self._claim.channel_id)
                results.append(_unsent(slot.destination, State.FAILED, "render"))
        return Prepared(messages=messages, results=results)

    async def _send(self, channel: OpenChannel, group: Sequence[Slot], prepared: Prepared) -> None:
        results = list(prepared.results)
        if prepared.messages:
            sendable, refused = await self._patiently(
                lambda: deliveries.submit(self._desk.pool, self._claim, list(prepared.messages))
            )
            failpoint("sink.after_submit")
            results += [_unsent(number, state, reason) for number, (state, reason) in refused.items()]
            answered = await self._deliver(channel, {number: prepared.messages[number] for number in sendable})
            failpoint("sink.after_accept")
            slots = {slot.destination: slot for slot in group}
            results += [result_of(slots[number], outcome, self._desk.random) for number, outcome in answered.items()]
            await self._heed(channel, list(answered.values()))
        await self._record(results)

    async def _deliver(self, channel: OpenChannel, messages: Mapping[int, Any]) -> dict[int, Outcome]:
        """Send a group at once; an answer that does not come before the worker has to leave is lost."""
        tasks = {asyncio.create_task(self._deliver_one(channel, m)): number for number, m in messages.items()}
        pending = set(tasks)
        try:
            while pending and not self._leave.is_overdue:
                _, pending = await asyncio.wait(pending, timeout=POLL_S)
        finally:
            for task in pending:
                task.cancel()
        if pending:
            await asyncio.wait(pending)
        return {number: Ambiguous("stopped") if task.cancelled() else task.result() for task, number in tasks.items()}

    async def _deliver_one(self, channel: OpenChannel, message: Any) -> Outcome:
        started_s = monotonic_s()
        try:
            outcome = await self._desk.channel.deliver(self._desk.connection, channel.config, message)
        except Exception as error:  # noqa: BLE001  - nobody knows how far it came: the answer counts as lost
            log.warning("deliver.raised", error=type(error).__name__, channel_id=self._claim.channel_id)
            return Ambiguous(type(error).__name__)
        now_s = monotonic_s()
        metrics.PROVIDER_SECONDS.labels(self._desk.channel.name).observe(now_s - started_s)
        if isinstance(outcome, Accepted):
            metrics.DELIVERY_SECONDS.labels(self._desk.channel.name, self._desk.lane).observe(now_s - self._arrived_s)
        return outcome

    async def _heed(self, channel: OpenChannel, outcomes: Sequence[Outcome]) -> None:
        """Adapt the pace to what the provider said, and give up a channel that it has given up."""
        throttles = [o for o in outcomes if isinstance(o, Retry) and o.is_throttle]
        if throttles:
            waits = [o.after_s for o in throttles if o.after_s is not None]
            channel.pacer.throttle(now_s=monotonic_s(), after_s=max(waits, default=None))
        else:
            channel.pacer.accept()
        gone = next((o.reason for o in outcomes if isinstance(o, Refused) and o.disable_channel), None)
        if gone is not None:
            number = self._claim.channel_id
            await self._patiently(lambda: deliveries.disable_channel(self._desk.pool, number, gone))
            log.warning("channel.disabled", channel_id=number, reason=gone)

    async def _record(self, results: Sequence[Result]) -> None:
        """Write results with their receipts; what is no longer ours is left to its new owner."""
        while results:
            at_ms = now_ms()
            receipts = receipts_of(
                self._claim,
                results,
                self._arms,
                now_ms=at_ms,
                traceparent=current_traceparent(),
                source=self._desk.consumer,
            )
            batch = list(results)
            recorded = await self._patiently(
                lambda: deliveries.record(self._desk.pool, self._claim, batch, receipts)  # noqa: B023  - awaited at once
            )
            if recorded.is_whole:
                failpoint("sink.after_record")
                for result in results:
                    metrics.DELIVERIES.labels(self._desk.channel.name, self._desk.lane, result.state.value).inc()
                if receipts is not None and recorded.outbox_id is not None:
                    await self._desk.publish(receipts, recorded.outbox_id)
                return
            log.warning("results.disowned", count=len(results) - len(recorded.held), run_id=self._claim.run_id)
            results = [result for result in results if result.destination in recorded.held]

    async def _patiently(self, statement: Callable[[], Awaitable[Answer]]) -> Answer:
        return await patiently(statement, leave=self._leave, consumer=self._desk.consumer, random=self._desk.random)


_EVENTS = {
    State.SUPPRESSED: Event.SUPPRESS,
    State.CAPPED: Event.CAP,
    State.DEFERRED: Event.DEFER,
    State.EXPIRED: Event.EXPIRE,
    State.CANCELLED: Event.CANCEL,
    State.FAILED: Event.REFUSE,
}


def _unsent(destination: int, state: State, reason: str | None) -> Result:
    """The result of a claimed slot that was never submitted."""
    following = transition(State.CLAIMED, _EVENTS[state])
    after_s = DEFERRED_S if following is State.DEFERRED else 0.0
    return Result(destination=destination, state=following, reason=reason, after_s=after_s)
