"""Recounts beside the live tables: the schema `replay`, their comparison, and what is swapped in under the fences."""

import uuid
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from asyncpg.pool import PoolConnectionProxy

from publishing.runtime.statements import load_statements
from publishing.stores.offsets import Pool

SQL = load_statements(__file__)

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MS = -62_135_596_800_000
# Copying and comparing a month takes longer than a statement of a service may.
PATIENT_S = 600.0
# While the fences are held every engagement worker waits: one statement, then everything, and then all is undone.
LOCKED_STATEMENT_MS = 15_000
LOCKED_IDLE_MS = 15_000
KEYS = ("grain", "window_start", "publication_id", "run_id", "channel_id", "arm", "kind", "verdict")
MEASURES = ("total", "uniques", "late", "first_at", "last_at")
TOUCH = ("run_id", "channel_id", "destination", "kind", "human", "first_at")


class ReplayRunningError(Exception):
    """Another replay works on this database: wait for its end."""


class Ruled(NamedTuple):
    """A stored verdict replay: rules in their JSON form, since when (ms), and the next offsets by partition."""

    rules_version: int
    rules: Sequence[Mapping[str, Any]]
    since_ms: int
    next_offsets: Mapping[int, int]


class Snapshot(NamedTuple):
    """What was stored at one moment: applied offsets by partition, verdict replays (newest first), older touches."""

    offsets: Mapping[int, int]
    rulings: Sequence[Ruled]
    touches: Sequence[tuple[Any, ...]]


class Compared(NamedTuple):
    """The comparison of the covered windows: cells that differ, cells recounted, events recounted."""

    different: int
    cells: int
    events: int


def moment(ms: int) -> datetime:
    """A time in ms since 1970; what lies before the year 1 becomes its beginning."""
    return EPOCH + timedelta(milliseconds=max(ms, FIRST_MS))


def milliseconds(at: datetime) -> int:
    """Milliseconds since 1970, rounded down."""
    return (at - EPOCH) // timedelta(milliseconds=1)


class Replays:
    """One replay's connection; the tables of the schema `replay` are its own until it is closed."""

    def __init__(self, connection: PoolConnectionProxy, consumer: str, topic: str) -> None:
        self._connection = connection
        self._place = (consumer, topic)
        self._is_filled = False

    async def snapshot(self, *, touched_before_ms: int, with_cells: bool) -> Snapshot:
        """Read offsets, replays and first touches before a time, and copy the live cells, all of one moment."""
        await self._connection.execute(SQL.make_shadow)
        async with self._connection.transaction(isolation="repeatable_read"):
            offsets = await self.offsets()
            rulings = [
                Ruled(row["rules_version"], row["rules"], milliseconds(row["since"]), _by_number(row["next_offsets"]))
                for row in await self._connection.fetch(SQL.rulings)
            ]
            rows = await self._connection.fetch(SQL.known_touches, moment(touched_before_ms), timeout=PATIENT_S)
            if with_cells:
                await self._connection.execute(SQL.copy_live, timeout=PATIENT_S)
        return Snapshot(offsets, rulings, [(*tuple(row)[:5], milliseconds(row["first_at"])) for row in rows])

    async def offsets(self) -> dict[int, int]:
        """The next offset of each partition that has one."""
        return {row["partition"]: row["next_offset"] for row in await self._connection.fetch(SQL.offsets, *self._place)}

    async def fill_cells(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Put recounted cells (keys, then measures; times in ms) into the shadow, over those of the same key."""
        table = "staged" if self._is_filled else "analytics"
        columns = [*KEYS, *MEASURES, "revision"]
        records = ((row[0], moment(row[1]), *row[2:11], moment(row[11]), moment(row[12]), 0) for row in rows)
        await self._connection.copy_records_to_table(
            table, schema_name="replay", records=records, columns=columns, timeout=PATIENT_S
        )
        if self._is_filled:
            await self._connection.execute(SQL.take_staged, timeout=PATIENT_S)
            await self._connection.execute("TRUNCATE replay.staged")
        else:
            await self._connection.execute("ANALYZE replay.analytics", timeout=PATIENT_S)
        self._is_filled = True

    async def fill_touches(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Put recounted first touches (times in ms) into the shadow; those that are there stay as they are."""
        records = ((*row[:5], moment(row[5])) for row in rows)
        await self._connection.copy_records_to_table(
            "engaged", schema_name="replay", records=records, columns=list(TOUCH), timeout=PATIENT_S
        )

    async def compare(self, minutes_from_ms: int, others_from_ms: int, *, live: bool = False) -> Compared:
        """Compare the shadow's covered windows with the copy of the snapshot, or with the live table itself."""
        await self._connection.execute(SQL.clear_differences)
        sql = SQL.compare.replace("replay.live", "public.publishing_analytics") if live else SQL.compare
        row = await self._connection.fetchrow(sql, moment(minutes_from_ms), moment(others_from_ms), timeout=PATIENT_S)
        assert row is not None
        return Compared(row["different"], row["cells"], row["events"])

    async def differences(self, limit: int) -> list[dict[str, Any]]:
        """The first cells that differ, by key: what is live, and what was recounted (None: no such cell)."""
        found = []
        for row in await self._connection.fetch(SQL.first_differences, limit):
            cell: dict[str, Any] = {key: row[key] for key in KEYS}
            cell["live"] = _measures(row, "live_")
            cell["recounted"] = _measures(row, "")
            found.append(cell)
        return found

    @asynccontextmanager
    async def locked(self, partitions: Sequence[int]) -> AsyncIterator[Mapping[int, int]]:
        """Hold the fences of all partitions: what is done inside is one transaction, in which no offset moves."""
        async with self._connection.transaction():
            await self._connection.execute(f"SET LOCAL statement_timeout = {LOCKED_STATEMENT_MS}")
            await self._connection.execute(f"SET LOCAL idle_in_transaction_session_timeout = {LOCKED_IDLE_MS}")
            await self._connection.execute(SQL.lock_fences, *self._place, list(partitions))
            rows = await self._connection.fetch(SQL.locked_offsets, *self._place)
            yield {row["partition"]: row["next_offset"] for row in rows}

    async def replace(self, touched_from_ms: int) -> int:
        """Make the cells that differ what was recounted, and the first touches from a time on; how many touches."""
        await self._connection.execute(SQL.replace_cells, timeout=PATIENT_S)
        return int(await self._connection.fetchval(SQL.replace_touches, moment(touched_from_ms), timeout=PATIENT_S))

    async def record_ruling(self, ruled: Ruled, changed_cells: int) -> int:
        """Store a verdict replay; returns its number."""
        offsets = {str(partition): offset for partition, offset in ruled.next_offsets.items()}
        since = moment(ruled.since_ms)
        return int(
            await self._connection.fetchval(
                SQL.record_ruling, ruled.rules_version, list(ruled.rules), since, offsets, changed_cells
            )
        )

    async def sign(self, action: str, entity_id: str, change: Mapping[str, Any]) -> None:
        """Leave a row in the audit."""
        await self._connection.execute(SQL.sign, action, entity_id, str(uuid.uuid4()), dict(change))


@asynccontextmanager
async def open_replays(pool: Pool, consumer: str, topic: str) -> AsyncIterator[Replays]:
    """The only replay of this database; raises ReplayRunningError when there is one already."""
    async with pool.acquire() as connection:
        if not await connection.fetchval(SQL.try_lock):
            raise ReplayRunningError
        await connection.execute(f"SET statement_timeout = '{int(PATIENT_S)}s'")
        # What the pool's release undoes as well: the lock and the setting.
        yield Replays(connection, consumer, topic)


def _by_number(offsets: Mapping[str, int]) -> dict[int, int]:
    return {int(partition): int(offset) for partition, offset in offsets.items()}


def _measures(row: Any, prefix: str) -> dict[str, Any] | None:
    return None if row[f"{prefix}total"] is None else {name: row[f"{prefix}{name}"] for name in MEASURES}
