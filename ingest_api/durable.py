"""Owns where a frame becomes durable: in the broker first, in the spool when the broker does not answer in time."""

import asyncio
import dataclasses
import functools
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol

from ingest_api.breaker import Breaker, BreakerState
from ingest_api.collector import NotDurableError
from ingest_api.spool import Spool
from ingest_api.spool_log import SpooledFrame
from publishing.runtime import metrics
from publishing.runtime.clock import monotonic_s
from publishing.runtime.logs import get_logger

# A broker that has not acknowledged by then is away: a reader waits for a redirect. Its 99th percentile is some 10 ms;
# without a spool the frame would be lost, and it gets twice the time.
BROKER_WAIT_S = 1.0
LAST_WAIT_S = 2.0
WATCH_EVERY_S = 0.1
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# With so few frames left the next ones wait in memory for them to be under way, some 20 ms: or a shard under load
# would never leave the spool.
NEAR_END_FRAMES = 256
# How long a stop waits for what the broker may still acknowledge.
STOP_WAIT_S = 2.0
_STATES = {state: number for number, state in enumerate(BreakerState)}

log = get_logger(__name__)


class Broker(Protocol):
    """The topic of hits on the broker."""

    def is_open(self) -> bool:
        """Whether there is a connection at all."""

    async def send(self, one: SpooledFrame, *, is_repeat: bool) -> Awaitable[Any]:
        """Queue a frame in order; what is returned resolves when all replicas have it, however long that takes.

        A repeat says of itself that it may come twice, so that it is counted once.
        """

    async def found(self, frames: Sequence[SpooledFrame]) -> set[bytes]:
        """The numbers of those frames that the log holds already."""


@dataclasses.dataclass(slots=True, eq=False)
class _Flight:
    """A frame that was given to the broker, and the answer that its hits wait for."""

    one: SpooledFrame
    started_s: float
    outcome: asyncio.Future[bool]
    sending: asyncio.Task[None] | None = None
    is_spooled: bool = False
    is_refused: bool = False


class BrokerFirst:
    """Keeps frames in the broker, or behind a breaker in the spool, from where they follow in order.

    While frames of a shard wait in the spool its next ones queue behind them. A frame that the broker may have got is
    spooled under the same number, and sent again only once it is certain that the log has it not.
    """

    def __init__(
        self,
        broker: Broker,
        spool: Spool | None,
        *,
        clock_ms: Callable[[], int],
        wait_s: float | None = None,
    ) -> None:
        """Start with nothing on its way; without a spool a frame that the broker does not take is not durable."""
        self._broker = broker
        self._spool = spool
        self._clock_ms = clock_ms
        self._wait_s = wait_s or (LAST_WAIT_S if spool is None else BROKER_WAIT_S)
        self.breaker = Breaker()
        self._flights: dict[bytes, _Flight] = {}
        self._gated: dict[int, list[_Flight]] = {}
        self._watching: asyncio.TimerHandle | None = None
        self._draining: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to drain what waits in the spool, also from before this start; the spool is open."""
        if self._spool is not None:
            self._draining = asyncio.create_task(self._drain(self._spool))

    async def keep(self, shard: int, frame: bytes) -> None:
        """Return once the frame is safe; raises NotDurableError within about 2 s."""
        one = SpooledFrame(shard, frame, secrets.token_bytes(16), self._clock_ms())
        if self._is_near_end(shard):
            flight = self._board(one)
            self._gated.setdefault(shard, []).append(flight)
            outcome = flight.outcome
        elif self._goes_live(shard):
            flight = self._board(one)
            self._launch(flight)
            outcome = flight.outcome
        elif self._spool is not None:
            outcome = self._spool.submit(one)
        else:
            raise NotDurableError
        if not await outcome:
            raise NotDurableError

    async def close(self) -> None:
        """Stop draining, and give what is on its way a last chance; what is not certain stays in the spool."""
        if self._draining is not None:
            self._draining.cancel()
            await asyncio.wait([self._draining])
        if self._watching is not None:
            self._watching.cancel()
            self._watching = None
        sending = [flight.sending for flight in self._flights.values() if flight.sending is not None]
        if sending:
            await asyncio.wait(sending, timeout=STOP_WAIT_S if self.breaker.state is BreakerState.CLOSED else 0)
        self._divert()
        for task in sending:
            task.cancel()
        await asyncio.gather(*sending, return_exceptions=True)

    def _goes_live(self, shard: int) -> bool:
        if not self._broker.is_open():
            return False
        is_closed = self.breaker.state is BreakerState.CLOSED
        if self._spool is not None and (self._spool.holds(shard) or not (is_closed or not self._spool.frames)):
            return False
        is_admitted = self.breaker.admits(monotonic_s())
        self._show_state()
        return is_admitted

    def _is_near_end(self, shard: int) -> bool:
        """Whether the spool will be done with a shard at once, so that its next frames wait for that in memory."""
        spool = self._spool
        if spool is None or self.breaker.state is not BreakerState.CLOSED or not self._broker.is_open():
            return False
        return spool.holds(shard) and spool.unsent <= NEAR_END_FRAMES

    def _board(self, one: SpooledFrame) -> _Flight:
        loop = asyncio.get_running_loop()
        flight = self._flights[one.number] = _Flight(one, loop.time(), loop.create_future())
        if self._watching is None:
            self._watching = loop.call_later(self._wait_s, self._watch)
        return flight

    def _launch(self, flight: _Flight) -> None:
        flight.sending = asyncio.get_running_loop().create_task(self._send(flight))

    async def _send(self, flight: _Flight) -> None:
        """Give a frame to the broker and wait for as long as it takes; a failure sends it the other way."""
        try:
            await (await self._broker.send(flight.one, is_repeat=False))
        except Exception as error:  # noqa: BLE001  - whatever it is, the frame is not known to be safe
            log.warning("broker.refused", error=type(error).__name__)
            self._trip()
            flight.is_refused = True
            self._landed(flight)
            return
        self.breaker.succeeded()
        self._show_state()
        if not flight.outcome.done():
            flight.outcome.set_result(True)
        self._landed(flight)

    def _landed(self, flight: _Flight) -> None:
        """Forget a flight, unless the spool holds the frame too and must learn how it ended."""
        if not flight.is_spooled:
            self._flights.pop(flight.one.number, None)

    def _watch(self) -> None:
        """Look at the oldest frame on its way, a few times a second, instead of at a timer for each."""
        self._watching = None
        loop = asyncio.get_running_loop()
        waiting = next((flight for flight in self._flights.values() if not flight.is_spooled), None)
        if waiting is None:
            return
        left_s = waiting.started_s + self._wait_s - loop.time()
        if left_s <= 0:
            log.warning("broker.late", frames=len(self._flights))
            self._trip()
            return
        self._watching = loop.call_later(max(left_s, WATCH_EVERY_S * self._wait_s), self._watch)

    def _trip(self) -> None:
        """Open the breaker, and take all that is on its way to the spool at once, in its order."""
        self.breaker.failed(monotonic_s())
        self._show_state()
        self._divert()

    def _divert(self) -> None:
        self._gated.clear()
        for flight in list(self._flights.values()):
            if flight.is_spooled:
                continue
            if self._spool is None:
                del self._flights[flight.one.number]
                _settle(flight.outcome, is_kept=False)
                continue
            flight.is_spooled = True
            kept = self._spool.submit(dataclasses.replace(flight.one, maybe_sent=flight.sending is not None))
            kept.add_done_callback(functools.partial(self._diverted, flight))

    def _diverted(self, flight: _Flight, kept: asyncio.Future[bool]) -> None:
        is_kept = kept.result()
        if not is_kept:
            self._flights.pop(flight.one.number, None)
        _settle(flight.outcome, is_kept=is_kept)

    async def _drain(self, spool: Spool) -> None:
        """Send what waits, in order, for ever."""
        while True:
            try:
                frames = await spool.some()
                await self._deliver(spool, frames)
                await spool.sent(frames)
            except Exception:
                log.exception("spool.failed")
                await asyncio.sleep(LONGEST_PAUSE_S)
                continue
            metrics.SPOOL_SENT.inc(len(frames))
            for one in frames:
                self._flights.pop(one.number, None)

    async def _deliver(self, spool: Spool, frames: list[SpooledFrame]) -> None:
        """Return once the log has every frame, each once as far as one can know; tries for ever."""
        pause_s = FIRST_PAUSE_S
        left, are_under_way = frames, False
        while True:
            try:
                left = await self._not_in_log(left)
                answers = [asyncio.ensure_future(await self._broker.send(one, is_repeat=True)) for one in left]
                if not are_under_way:
                    are_under_way = True
                    spool.under_way(frames)
                    self._open_gates(spool)
                ends = await asyncio.gather(*answers, return_exceptions=True)
                left = [one for one, end in zip(left, ends, strict=True) if isinstance(end, BaseException)]
            except Exception as error:  # noqa: BLE001  - the frames wait on, whatever it is
                log.warning("spool.waits", error=type(error).__name__, frames=len(left))
            else:
                if not left:
                    self.breaker.succeeded()
                    self._show_state()
                    return
                log.warning("spool.refused_by_broker", frames=len(left))
            self._trip()
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _open_gates(self, spool: Spool) -> None:
        """Send the frames that waited in memory for the spool's frames of their shard to be under way."""
        for shard in [shard for shard in self._gated if not spool.holds(shard)]:
            for flight in self._gated.pop(shard):
                self._launch(flight)

    async def _not_in_log(self, frames: list[SpooledFrame]) -> list[SpooledFrame]:
        """The frames without those that reached the log after all: by the producer's word, else by the log's."""
        flights = {one.number: self._flights[one.number] for one in frames if one.number in self._flights}
        sending = [flight.sending for flight in flights.values() if flight.sending is not None]
        if sending:
            await asyncio.wait(sending)
        sent = {number for number, one in flights.items() if one.sending is not None and not one.is_refused}
        unsure = [one for one in frames if one.maybe_sent and one.number not in sent]
        if unsure:
            sent |= await self._broker.found(unsure)
        return [one for one in frames if one.number not in sent]

    def _show_state(self) -> None:
        metrics.BREAKER_STATE.set(_STATES[self.breaker.state])


def _settle(outcome: asyncio.Future[bool], *, is_kept: bool) -> None:
    if not outcome.done():
        outcome.set_result(is_kept)
