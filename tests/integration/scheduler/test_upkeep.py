"""Days are made ahead, and what is older than its horizon goes."""

import datetime as dt
from collections.abc import Awaitable, Callable

import asyncpg
import pytest

from publishing.stores.outbox import Outbox
from publishing.stores.retention import Retention
from streams.upkeep import Upkeep
from topics.catalog import PUBLICATION_CHANGED

pytestmark = pytest.mark.integration

NOW = dt.datetime(2026, 3, 14, 5, 6, 7, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)


@pytest.fixture
def upkeep(pool: asyncpg.Pool) -> Upkeep:
    """The loop's steps at the time NOW."""
    return Upkeep(Retention(pool), Outbox(pool), clock=lambda: NOW)


async def _days(pool: asyncpg.Pool) -> list[str]:
    rows = await pool.fetch(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
        " WHERE i.inhparent = 'publishing_event_ids'::regclass AND c.relname !~ 'default' ORDER BY 1"
    )
    return [row["relname"].rsplit("_", 1)[1] for row in rows]


async def test_days_are_made_from_yesterday_to_a_week_ahead(pool: asyncpg.Pool, upkeep: Upkeep) -> None:
    """Nine days exist after the first pass, and the second makes none."""
    before = set(await _days(pool))
    await upkeep.keep_days()
    expected = {f"{NOW.date() + n * DAY:%Y%m%d}" for n in range(-1, 8)}
    assert expected <= set(await _days(pool)) <= expected | before
    await upkeep.keep_days()
    assert expected <= set(await _days(pool))


async def test_event_ids_older_than_seven_days_go(pool: asyncpg.Pool, upkeep: Upkeep) -> None:
    """A day's partition is dropped once it is more than 7 days old, and rows without a partition with it."""
    retention = Retention(pool)
    today = NOW.date()
    await retention.ensure_days(today - 9 * DAY, today - 7 * DAY)
    days = [today - 9 * DAY, today - 8 * DAY, today - 7 * DAY, today - 30 * DAY]
    for day in days:
        await pool.execute("INSERT INTO publishing_event_ids VALUES ($1, $2)", day, bytes(16))
    await upkeep.keep_days()
    kept = [row["day"] for row in await pool.fetch("SELECT day FROM publishing_event_ids")]
    assert kept == [today - 7 * DAY]
    assert f"{today - 8 * DAY:%Y%m%d}" not in await _days(pool)


async def _windows(pool: asyncpg.Pool, grain: str) -> list[dt.date]:
    rows = await pool.fetch("SELECT window_start FROM publishing_analytics WHERE grain = $1 ORDER BY 1", grain)
    return [row["window_start"].date() for row in rows]


@pytest.mark.parametrize("has_partitions", [True, False])
async def test_windows_go_by_grain(pool: asyncpg.Pool, upkeep: Upkeep, *, has_partitions: bool) -> None:
    """Minutes stay 14 days and hours 13 months, with partitions of their own or in the default one; days stay."""
    today = NOW.date()
    ages = (13, 14, 15, 40, 395, 396, 397, 500)
    if has_partitions:
        for age in ages:
            await Retention(pool).ensure_days(today - age * DAY, today - age * DAY)
    for grain in ("minute", "hour", "day"):
        await pool.executemany(
            "INSERT INTO publishing_analytics VALUES ($1, $2, 1, 1, 1, 0, 'opened', 'human', 1, 1, 0, 0, $2, $2)",
            [(grain, NOW.replace(hour=23, minute=59, second=0) - age * DAY) for age in ages],
        )
    await upkeep.drop_windows()
    await upkeep.drop_windows()
    kept = {grain: [(today - day).days for day in await _windows(pool, grain)] for grain in ("minute", "hour", "day")}
    assert kept["minute"] == [14, 13]
    assert kept["day"] == sorted(ages, reverse=True)
    # A month goes as a whole, once its last day is over 13 months old.
    assert kept["hour"] == ([397, 396, 395, 40, 15, 14, 13] if has_partitions else [396, 395, 40, 15, 14, 13])


async def test_two_schedulers_may_keep_the_days_at_once(pool: asyncpg.Pool) -> None:
    """Days that exist, and days that another scheduler has dropped, are no error."""
    retention = Retention(pool)
    today = NOW.date()
    await retention.ensure_days(today - 9 * DAY, today)
    assert len(await retention.drop_event_ids(today - 7 * DAY)) == 2
    assert await retention.drop_event_ids(today - 7 * DAY) == []


async def test_sent_rows_go_after_a_day_in_batches(
    pool: asyncpg.Pool, upkeep: Upkeep, add_outbox: Callable[..., Awaitable[int]]
) -> None:
    """Rows sent 24 h ago are deleted a thousand at a time; unsent and recent ones stay."""
    payload = {"publication_id": 1, "version": 1, "status": "running"}
    recent = await add_outbox(PUBLICATION_CHANGED.name, payload=payload)
    unsent = await add_outbox(PUBLICATION_CHANGED.name, payload=payload, created_at=NOW - 5 * DAY)
    await pool.execute("UPDATE publishing_outbox SET sent_at = $1 WHERE id = $2", NOW - DAY, recent)
    await pool.execute(
        "INSERT INTO publishing_outbox (topic, partition, payload, ce_source, sent_at)"
        " SELECT topic, 0, payload, 'tests', $1 FROM publishing_outbox, generate_series(1, 1001) WHERE id = $2",
        NOW - DAY - dt.timedelta(seconds=1),
        recent,
    )
    assert await upkeep.delete_sent() is True
    assert await upkeep.delete_sent() is False
    assert [row["id"] for row in await pool.fetch("SELECT id FROM publishing_outbox ORDER BY id")] == [recent, unsent]
