"""delivery.<kind>.<lane>.v1 -> a provider, and engagement.recorded.v1: the process of one kind and lane."""

import asyncio
import signal
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

import uvloop
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError

from publishing.domain.tracking import policy_named
from publishing.runtime import failpoints, metrics
from publishing.runtime.burial import Burial, Headers, PoisonError, Send
from publishing.runtime.clock import monotonic_s, utc_now
from publishing.runtime.correlation import accept_traceparent, header, record_headers
from publishing.runtime.database import check_installation, open_pool
from publishing.runtime.failpoints import failpoint
from publishing.runtime.health import HealthPortError, HealthServer
from publishing.runtime.logs import configure_logs, get_logger
from publishing.runtime.producer import open_producer, send_frame
from publishing.runtime.sealing import Sealer
from publishing.runtime.settings import Settings, SettingsError, exit_on_settings_error, load_settings
from publishing.stores import deliveries
from publishing.stores.availability import is_unavailable
from publishing.stores.deliveries import Claim, Claimant, FenceLostError, Frame, Receipts, UnknownRunError
from publishing.stores.offsets import DATA_ERRORS, Place, advance_offset
from schemas.messages import EngagementRecorded
from sinks.channels import load
from sinks.composing import Composer
from sinks.consuming import BurialLimitError, Consumption
from sinks.frames import poison_limit, read_frame
from sinks.leaving import Leave
from sinks.linking import Linking
from sinks.patience import patiently
from sinks.sending import Desk, Sending
from topics import apply as topics_apply
from topics.catalog import BY_NAME, DELIVERY, ENGAGEMENT_RECORDED
from topics.errors import TopicsError

REQUIRED = ("kafka_bootstrap_servers", "database_url", "tracking_keys", "seal_keys")
LANES = ("bulk", "alert")
POOL_SIZE = 8

log = get_logger(__name__)


class Worker:
    """Works on the records of one delivery topic."""

    def __init__(self, settings: Settings, desk: Desk, producer: AIOKafkaProducer) -> None:
        self._lease_s = settings.lease_s
        self._desk = desk
        self._topic = DELIVERY[desk.channel.name, desk.lane]
        self._limit = poison_limit()
        self._burial = Burial(settings.topic_prefix, dead_letters(producer), utc_now)
        self.consumption = Consumption(settings, desk.pool, topic=self._topic, consumer=desk.consumer, work=self.work)

    async def work(self, record: Any, place: Place, *, expected: int, leave: Leave) -> None:
        """Claim a record's frame and send it; a poison record is buried. See FrameWork for what it raises."""
        arrived_s = monotonic_s()
        accept_traceparent(header(record.headers, "traceparent"))
        failpoint("sink.after_poll")
        partitions = self._topic.partition_count(1)
        self._desk.composer.take_portion(max(self.consumption.assigned, 1) / partitions)
        try:
            frame = read_frame(record.value, kind=self._desk.channel.name, lane=self._desk.lane)
            claim = await self._claim(frame, place, expected=expected, after=record.offset + 1, leave=leave)
        except PoisonError as error:
            await self._bury(record, place, error, expected=expected, leave=leave)
            return
        self._limit.note(is_poison=False, now_s=monotonic_s())
        failpoint("sink.after_claim")
        if claim.unplanned:
            log.warning("destinations.unplanned", count=claim.unplanned, run_id=claim.run_id)
        await Sending(self._desk, claim, leave, arrived_s=arrived_s).run()
        metrics.RECORDS.labels(self._desk.consumer, self._topic.name, "applied").inc()
        metrics.BATCH_SECONDS.labels(self._desk.consumer).observe(monotonic_s() - arrived_s)

    async def _claim(self, frame: Frame, place: Place, *, expected: int, after: int, leave: Leave) -> Claim:
        pool, consumer = self._desk.pool, self._desk.consumer
        claimant = Claimant(consumer, self._lease_s)
        try:
            return await patiently(
                lambda: deliveries.claim(pool, claimant, place, frame, expected=expected, after=after),
                leave=leave,
                consumer=consumer,
                random=self._desk.random,
            )
        except UnknownRunError as error:
            raise PoisonError("unknown_run") from error
        except DATA_ERRORS as error:
            raise PoisonError("refused_by_database", type(error).__name__) from error

    async def _bury(self, record: Any, place: Place, error: PoisonError, *, expected: int, leave: Leave) -> None:
        self._limit.note(is_poison=True, now_s=monotonic_s())
        if self._limit.is_exceeded:
            raise BurialLimitError
        await self._burial.bury(record, error)
        pool, consumer, after = self._desk.pool, self._desk.consumer, record.offset + 1
        is_ours = await patiently(
            lambda: advance_offset(pool, consumer, place, expected=expected, after=after),
            leave=leave,
            consumer=consumer,
            random=self._desk.random,
        )
        if not is_ours:
            raise FenceLostError
        metrics.RECORDS.labels(consumer, self._topic.name, "buried").inc()


def dead_letters(producer: AIOKafkaProducer) -> Send:
    """What sends a buried record."""

    async def send(topic: str, value: bytes, key: bytes, headers: Headers) -> object:
        return await send_frame(producer, topic, value, partition=0, key=key, headers=headers)

    return send


def publisher(
    settings: Settings, producer: AIOKafkaProducer, pool: deliveries.Pool
) -> Callable[[Receipts, int], Awaitable[None]]:
    """What produces the receipts of an outbox row at once; whatever goes wrong here, the relay does it later."""

    async def publish(receipts: Receipts, outbox_id: int) -> None:
        headers = record_headers(
            f"tidewire.{EngagementRecorded.__name__}",
            ce_id=str(outbox_id),
            ce_source=deliveries.CE_SOURCE,
            now=utc_now(),
        )
        try:
            destination = BY_NAME[receipts.topic].named(settings.topic_prefix)
            await send_frame(producer, destination, receipts.frame, partition=receipts.partition, headers=headers)
            await deliveries.mark_sent(pool, outbox_id)
        except (KafkaError, OSError, TimeoutError) as error:
            log.warning("receipts.unsent", error=type(error).__name__)
        except Exception as error:
            if not is_unavailable(error):
                raise
            log.warning("receipts.unmarked", error=type(error).__name__)

    return publish


async def serve(settings: Settings, kind: str, lane: str, *, started: asyncio.Event | None = None) -> None:
    """Run one worker until SIGTERM or SIGINT; raises BurialLimitError, TopicsError or HealthPortError."""
    channel = load()[kind]
    topic = DELIVERY[kind, lane]
    await topics_apply.check(
        settings.kafka,
        prefix=settings.topic_prefix,
        shards=settings.audience_shards,
        topics=[topic, topic.dlq, ENGAGEMENT_RECORDED],
    )
    async with AsyncExitStack() as stack:
        pool = await stack.enter_async_context(
            await open_pool(settings, process=f"sink-{kind}-{lane}", max_size=POOL_SIZE)
        )
        await check_installation(pool, settings.audience_shards)
        producer = await stack.enter_async_context(open_producer(settings))
        desk = Desk(
            pool=pool,
            channel=channel,
            connection=await stack.enter_async_context(channel.open(settings)),
            composer=Composer(
                pool,
                channel,
                sealer=Sealer(settings.sealing),
                linking=Linking(settings.tracking, settings.public_url, policy_named(settings.tracking_policy)),
            ),
            publish=publisher(settings, producer, pool),
            consumer=f"sink-{kind}-{lane}",
            lane=lane,
            random=Random(),  # noqa: S311  - spreads retries, guards nothing
        )
        worker = Worker(settings, desk, producer)
        checks = {
            "database": lambda: pool.fetchval("SELECT 1"),
            "kafka": producer.client.fetch_all_metadata,
        }
        health = HealthServer(settings, checks, metrics.REGISTRY)
        await health.start()
        stack.push_async_callback(health.stop)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, worker.consumption.stop)
            stack.callback(loop.remove_signal_handler, number)
        log.info("sink.started", kind=kind, lane=lane)
        if started is not None:
            started.set()
        await worker.consumption.run()
        log.info("sink.stopped", kind=kind, lane=lane)


def main(kind: str, lane: str = "bulk") -> None:
    """Run the worker of one kind and lane as this process; exits 1 on a fault, 2 on wrong usage or settings."""
    if (kind, lane) not in DELIVERY:
        sys.stderr.write(f"tidewire: no sink {kind!r} {lane!r}: kinds {', '.join(load())}; lanes {', '.join(LANES)}\n")
        raise SystemExit(2)
    try:
        settings = load_settings(*REQUIRED)
    except SettingsError as error:
        exit_on_settings_error(error)
    configure_logs(settings, f"sink-{kind}-{lane}")
    failpoints.arm(settings.failpoints)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(settings, kind, lane))
    except (BurialLimitError, TopicsError, HealthPortError) as error:
        log.error("sink.failed", error=type(error).__name__, detail=str(error) or type(error).__doc__)  # noqa: TRY400  - the sentence says it
        raise SystemExit(1) from error


if __name__ == "__main__":
    main(*(sys.argv[1:3] or [""]))
