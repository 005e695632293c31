"""The engagement statement: all of a batch under the fence, exact under repeats, and nothing without the fence."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from publishing.domain.windows import LATENESS_MS, MINUTE_MS, NO_WATERMARK, Frame, fold, frame_id
from publishing.stores.engagement import Advance, Applied, Position, apply_engagement, load_positions
from publishing.stores.offsets import DATA_ERRORS, Place, Pool
from schemas.frames import KIND_INDEX, VERDICT_INDEX, new_events
from schemas.messages import EngagementKind, Verdict
from topics.catalog import ENGAGEMENT_RECORDED, SUBSCRIBER_CHANGED

pytestmark = pytest.mark.integration

PLACE = Place(ENGAGEMENT_RECORDED.name, 1)
NOON_MS = 1_790_000_000_000 // 86_400_000 * 86_400_000 + 12 * 3_600_000
OPENED = KIND_INDEX[EngagementKind.OPENED]


def frame_of(*rows: dict[str, Any], identity: bytes | None = None) -> Frame:
    """A frame of events given by their fields; times are offsets from noon in ms."""
    events = new_events(len(rows))
    for place, row in enumerate(rows):
        events["occurred_at"][place] = NOON_MS + row.get("at", 0)
        events["event_id"][place, 0] = row.get("event_id", 0)
        for name, value in row.items():
            if name not in ("at", "event_id"):
                events[name][place] = value
    return Frame(events, NOON_MS, NOON_MS, identity)


class Writer:
    """One owner of the partition, as the app is: it folds on its watermark and moves its offset."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.offset = 0
        self.watermark_ms = NO_WATERMARK

    async def write(self, *frames: Frame) -> Applied:
        """Apply frames as the next records."""
        folded = fold(frames, self.watermark_ms)
        advance = Advance("engagement", PLACE, self.offset, self.offset + len(frames))
        applied = await apply_engagement(self._pool, advance, folded)
        if applied.is_held:
            self.offset, self.watermark_ms = advance.after, folded.watermark_ms
        return applied


async def rows_of(pool: Pool, grain: str = "minute") -> Sequence[tuple[Any, ...]]:
    """(kind, verdict, total, uniques, late, revision) of the windows, by start and key."""
    rows = await pool.fetch(
        "SELECT kind, verdict, total, uniques, late, revision FROM publishing_analytics WHERE grain = $1"
        " ORDER BY window_start, publication_id, run_id, channel_id, arm, kind, verdict",
        grain,
    )
    return [tuple(row) for row in rows]


async def test_events_are_counted_in_three_grains(pool: Pool) -> None:
    """Each event is in its minute, hour and day; a reader is unique once."""
    writer = Writer(pool)
    event = {"kind": OPENED, "run_id": 7, "channel_id": 1, "destination": 5}
    await writer.write(frame_of(event, event | {"at": 1}), frame_of(event | {"at": MINUTE_MS}))
    assert await rows_of(pool) == [("opened", "unknown", 2, 1, 0, 0), ("opened", "unknown", 1, 0, 0, 0)]
    assert await rows_of(pool, "hour") == await rows_of(pool, "day") == [("opened", "unknown", 3, 1, 0, 0)]
    ((first, last),) = await pool.fetch("SELECT first_at, last_at FROM publishing_analytics WHERE grain = 'day'")
    assert (first.timestamp() * 1000, last.timestamp() * 1000) == (NOON_MS, NOON_MS + MINUTE_MS)


async def test_a_lost_fence_changes_nothing_at_all(pool: Pool) -> None:
    """A zombie's statement leaves no window, touch, id, suppression, watermark or outbox row."""
    owner, zombie = Writer(pool), Writer(pool)
    assert (await owner.write(frame_of({"kind": OPENED}))).is_held
    before = await everything(pool)
    ending = {"kind": KIND_INDEX[EngagementKind.COMPLAINED], "destination": 3, "flags": 1, "event_id": 4}
    assert not (
        await zombie.write(frame_of(ending, {"kind": OPENED}, identity=frame_id("tidewire/ledger", "1")))
    ).is_held
    assert await everything(pool) == before


async def everything(pool: Pool) -> dict[str, list[Any]]:
    """The rows of every table that the statement writes."""
    tables = (
        "stream_offsets publishing_analytics publishing_engaged publishing_event_ids publishing_watermarks"
        " publishing_suppressions publishing_outbox publishing_shard_marks"
    )
    return {name: sorted(map(str, await pool.fetch(f"SELECT * FROM {name}"))) for name in tables.split()}  # noqa: S608


async def test_repeats_are_counted_once_across_batches(pool: Pool) -> None:
    """A ledger's frame and an outside event count once, however often and in whichever batch they come."""
    writer = Writer(pool)
    whole = frame_of({"kind": 4}, {"kind": 5}, identity=frame_id("tidewire/ledger", "9"))
    outside = frame_of({"kind": 6, "flags": 1, "event_id": 3}, {"kind": 8})
    assert (await writer.write(whole, outside)).repeated == 0
    assert (await writer.write(whole, outside)).repeated == 2
    counted = {kind: total for kind, _, total, *_ in await rows_of(pool, "day")}
    assert counted == {"accepted": 1, "delivered": 1, "bounced": 1, "failed": 2}


async def test_a_repeat_takes_no_first_touch(pool: Pool) -> None:
    """A reader's first counted touch is the unique one; a repeated event before it in the batch is not."""
    writer = Writer(pool)
    outside = {"kind": OPENED, "flags": 1, "event_id": 3, "destination": 5, "run_id": 1}
    await writer.write(frame_of(outside))
    await writer.write(frame_of(outside | {"destination": 6}, {"kind": OPENED, "destination": 6, "run_id": 1}))
    assert await rows_of(pool, "day") == [("opened", "unknown", 2, 2, 0, 0)]


async def test_late_events_count_and_say_so(pool: Pool) -> None:
    """After the window closed an event is counted, and each frame with late ones is one revision."""
    writer = Writer(pool)
    await writer.write(frame_of({"kind": 4}, {"kind": 4, "at": MINUTE_MS + LATENESS_MS}))
    await writer.write(frame_of({"kind": 4}, {"kind": 4}), frame_of({"kind": 4}))
    await writer.write(frame_of({"kind": 4}))
    assert (await rows_of(pool))[0] == ("accepted", "unknown", 5, 0, 4, 3)
    assert await rows_of(pool, "hour") == [("accepted", "unknown", 6, 0, 0, 0)]


async def test_positions_are_loaded_with_their_watermark(pool: Pool) -> None:
    """A successor goes on at the offset and the watermark of one snapshot."""
    assert await load_positions(pool, "engagement", [PLACE]) == {PLACE: Position(0, NO_WATERMARK)}
    writer = Writer(pool)
    await writer.write(frame_of({"kind": 4, "at": 17}))
    assert await load_positions(pool, "engagement", [PLACE]) == {PLACE: Position(1, NOON_MS + 17 - LATENESS_MS)}


async def test_an_empty_batch_only_advances(pool: Pool) -> None:
    """Where every record was buried the fence moves, and nothing else is written."""
    writer = Writer(pool)
    assert (await writer.write()).is_held
    assert await pool.fetchval("SELECT count(*) FROM publishing_watermarks") == 0


async def add_subscriber(pool: Pool, number: int, shard: int) -> None:
    """An active subscriber that takes e-mail."""
    await pool.execute(
        """INSERT INTO publishing_subscribers (id, shard, channels) VALUES ($1, $2, '{"email": true}')""", number, shard
    )


async def add_email_channel(pool: Pool) -> int:
    """The id of an e-mail channel."""
    sql = "INSERT INTO publishing_channels (kind, name, config_sealed) VALUES ('email', 'news', '') RETURNING id"
    return int(await pool.fetchval(sql))


@pytest.mark.parametrize(
    ("kind", "status", "has_email"),
    [("unsubscribed", "unsubscribed", False), ("complained", "unsubscribed", False), ("bounced", "active", False)],
)
async def test_what_ends_sending_reaches_the_audience(pool: Pool, kind: str, status: str, has_email: object) -> None:
    """An ending writes the suppression, the subscriber, the shard's mark and one outbox row; again, nothing."""
    await add_subscriber(pool, 9, 1)
    channel = await add_email_channel(pool)
    ending = {"kind": KIND_INDEX[EngagementKind(kind)], "destination": 9, "channel_id": channel}
    writer = Writer(pool)
    assert (await writer.write(frame_of(ending, ending | {"at": 1}))).suppressed == 1
    assert (await writer.write(frame_of(ending))).suppressed == 0
    (row,) = await pool.fetch("SELECT status, channels, version FROM publishing_subscribers WHERE id = 9")
    assert tuple(row) == (status, {"email": has_email}, 2)
    (suppression,) = await pool.fetch("SELECT destination, scope, reason FROM publishing_suppressions")
    assert tuple(suppression) == (9, "email", kind)
    outbox = await pool.fetch("SELECT topic, partition, payload FROM publishing_outbox")
    changes = [{"destination": 9, "seq": 1, "version": 2}]
    assert [tuple(row) for row in outbox] == [(SUBSCRIBER_CHANGED.name, 1, {"shard": 1, "changes": changes})]
    assert await pool.fetchval("SELECT last_seq FROM publishing_shard_marks WHERE shard = 1") == 1


async def test_changes_are_numbered_without_gaps_in_rows_of_500(pool: Pool) -> None:
    """1,001 endings of a shard that is at 10 become the changes 11 to 1,011 in three rows; other shards are apart."""
    await pool.execute("INSERT INTO publishing_shard_marks (shard, last_seq) VALUES (1, 10)")
    await pool.execute("INSERT INTO publishing_subscribers (id, shard) SELECT n, 1 FROM generate_series(1, 1001) n")
    await add_subscriber(pool, 2000, 2)
    endings = [{"kind": KIND_INDEX[EngagementKind.UNSUBSCRIBED], "destination": n} for n in [*range(1, 1002), 2000]]
    await Writer(pool).write(frame_of(*endings))
    payloads = [row["payload"] for row in await pool.fetch("SELECT payload FROM publishing_outbox ORDER BY id")]
    first = [change["seq"] for payload in payloads if payload["shard"] == 1 for change in payload["changes"]]
    assert sorted(first) == list(range(11, 1012))
    assert max(len(payload["changes"]) for payload in payloads) == 500
    assert len(payloads) == 4
    assert await pool.fetchval("SELECT count(*) FROM publishing_suppressions WHERE scope = 'all'") == 1002


async def test_the_database_names_what_it_refuses(pool: Pool) -> None:
    """A value that no retry makes good is one of DATA_ERRORS."""
    folded = fold([frame_of({"kind": 4})], NO_WATERMARK)
    folded.dimensions["channel_id"][0] = 2**40
    with pytest.raises(DATA_ERRORS):
        await apply_engagement(pool, Advance("engagement", PLACE, 0, 1), folded)
    assert issubclass(asyncpg.CheckViolationError, DATA_ERRORS)


async def test_partitions_that_share_windows_do_not_lock_each_other_up(pool: Pool) -> None:
    """Keys are written in one order: four partitions at the same hot windows all end, with nothing lost."""
    human = VERDICT_INDEX[Verdict.HUMAN]

    async def partition(number: int) -> None:
        for step in range(20):
            seen = {"kind": OPENED, "verdict": human, "destination": 1}
            rows = [seen | {"run_id": n % 3, "at": n % 5 * MINUTE_MS} for n in range(30)]
            frames = [frame_of(*rows[step % 7 :])]
            advance = Advance("engagement", Place(PLACE.topic, number), step, step + 1)
            assert (await apply_engagement(pool, advance, fold(frames, NO_WATERMARK))).is_held

    await asyncio.gather(*(partition(number) for number in range(4)))
    counted = await pool.fetchval("SELECT sum(total) FROM publishing_analytics WHERE grain = 'minute'")
    assert counted == 4 * sum(30 - step % 7 for step in range(20))
    assert await pool.fetchval("SELECT count(*) FROM publishing_engaged") == 3


async def test_event_times_are_utc(pool: Pool) -> None:
    """A day begins at 00:00 UTC, whatever the server's zone."""
    async with pool.acquire() as connection:
        await connection.execute("SET timezone = 'Pacific/Kiritimati'")
        folded = fold([frame_of({"kind": OPENED, "destination": 1})], NO_WATERMARK)
        await apply_engagement(connection, Advance("engagement", PLACE, 0, 1), folded)  # type: ignore[arg-type]
        await connection.execute("RESET timezone")
    day = datetime.fromtimestamp(NOON_MS / 1000, UTC).replace(hour=0)
    (row,) = await pool.fetch("SELECT window_start, uniques FROM publishing_analytics WHERE grain = 'day'")
    assert tuple(row) == (day, 1)
