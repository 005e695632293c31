"""Owns the rows of subscribers: upserts by e-mail address or external id, in batches, and reads."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from publishing.runtime.sealing import Sealer
from publishing.runtime.statements import load_statements
from publishing.stores.audit import CE_SOURCE, Signature
from publishing.stores.availability import ATTEMPTS, Pool, repeated
from topics.catalog import SUBSCRIBER_CHANGED

SQL = load_statements(__file__)
# One statement a batch; while it runs it holds its shards' marks, and while it is made nothing else is answered.
BATCH_ROWS = 500


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class SubscriberEntry:
    """What is to be known of a subscriber; None leaves what is stored, or takes the column's default."""

    email: str | None = None
    external_id: str | None = None
    time_zone: str | None = None
    locale: str | None = None
    cadence: str | None = None
    topics: Mapping[str, float] | None = None
    channels: Mapping[str, bool] | None = None
    caps: Mapping[str, Any] | None = None
    attributes: Mapping[str, Any] | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Stored:
    """The entry is a row now."""

    id: int
    shard: int
    is_new: bool


@dataclasses.dataclass(frozen=True, slots=True)
class Clash:
    """The entry is refused: the field's value belongs to another subscriber."""

    field: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """An entry with the row that it is going to be."""

    place: int
    id: int
    is_new: bool
    entry: SubscriberEntry
    data_key: bytes | None
    email_sealed: bytes | None
    email_lookup: bytes | None


class SubscriberRaceError(Exception):
    """Others kept changing the same subscribers; send the request again."""


class Subscribers:
    """The subscribers of an installation of so many shards."""

    def __init__(self, pool: Pool, sealer: Sealer, *, shards: int) -> None:
        """Keep the pool and the keys."""
        self._pool = pool
        self._sealer = sealer
        self._shards = shards

    async def write(self, entries: Sequence[SubscriberEntry], signature: Signature) -> list[Stored | Clash]:
        """Upsert the entries in their order, one answer each; a later entry of the same subscriber wins."""
        answers: list[Stored | Clash | None] = [None] * len(entries)
        for wave in self._waves(entries):
            for start in range(0, len(wave), BATCH_ROWS):
                await self._write_batch(wave[start : start + BATCH_ROWS], answers, signature)
        return [answer for answer in answers if answer is not None]

    async def one(self, number: int) -> dict[str, Any] | None:
        """Read one subscriber with the address opened, or None."""
        row = await self._pool.fetchrow(SQL.one, number)
        return None if row is None else self._opened(dict(row))

    async def page(self, *, after: int, limit: int) -> list[dict[str, Any]]:
        """Read subscribers in the order of their numbers."""
        return [self._opened(dict(row)) for row in await self._pool.fetch(SQL.page, after, limit)]

    def _waves(self, entries: Sequence[SubscriberEntry]) -> list[list[tuple[int, SubscriberEntry]]]:
        """Split entries so that none names a subscriber twice: a statement can change a row only once."""
        waves: list[list[tuple[int, SubscriberEntry]]] = []
        turn_of: dict[str, int] = {}
        for place, entry in enumerate(entries):
            names = [f"e{entry.email.strip().casefold()}"] if entry.email else []
            names += [f"x{entry.external_id}"] if entry.external_id else []
            turn = max((turn_of.get(name, 0) for name in names), default=0)
            turn_of.update(dict.fromkeys(names, turn + 1))
            if turn == len(waves):
                waves.append([])
            waves[turn].append((place, entry))
        return waves

    async def _write_batch(
        self, batch: list[tuple[int, SubscriberEntry]], answers: list[Stored | Clash | None], signature: Signature
    ) -> None:
        """Write a batch; what lost a race for its address is matched and written again."""
        for _ in range(ATTEMPTS):
            stored = await repeated(lambda rest=batch: self._attempt(rest, answers, signature))  # type: ignore[misc]
            batch = [(place, entry) for place, entry in batch if place not in stored and answers[place] is None]
            if not batch:
                return
        raise SubscriberRaceError

    async def _attempt(
        self, batch: list[tuple[int, SubscriberEntry]], answers: list[Stored | Clash | None], signature: Signature
    ) -> set[int]:
        rows = await self._rows(batch, answers)
        if not rows:
            return set()
        place_of = {row.id: row.place for row in rows}
        found = await self._pool.fetch(SQL.write, *self._arguments(rows, signature))
        for row in found:
            answers[place_of[row["id"]]] = Stored(row["id"], row["shard"], row["is_new"])
        return {place_of[row["id"]] for row in found}

    async def _rows(self, batch: list[tuple[int, SubscriberEntry]], answers: list[Stored | Clash | None]) -> list[_Row]:
        lookups = {place: self._sealer.lookup(entry.email) for place, entry in batch if entry.email}
        external_ids = [entry.external_id for _, entry in batch if entry.external_id]
        known = [dict(row) for row in await self._pool.fetch(SQL.match, list(lookups.values()), external_ids)]
        by_lookup = {row["email_lookup"]: row for row in known}
        by_external_id = {row["external_id"]: row for row in known}
        reserved = await self._pool.fetch(SQL.reserve, len(batch)) if len(known) < len(batch) else []
        numbers = iter([row["id"] for row in reserved])
        rows = []
        for place, entry in batch:
            same_email = by_lookup.get(lookups.get(place)) if place in lookups else None
            same_id = by_external_id.get(entry.external_id) if entry.external_id else None
            if same_email is not None and same_id is not None and same_email["id"] != same_id["id"]:
                answers[place] = Clash("external_id")
                continue
            row = same_email if same_email is not None else same_id
            rows.append(self._row(place, entry, row, lookups.get(place), next(numbers) if row is None else row["id"]))
        return rows

    def _row(
        self, place: int, entry: SubscriberEntry, row: Mapping[str, Any] | None, lookup: bytes | None, number: int
    ) -> _Row:
        data_key = row["data_key"] if row is not None else None
        data_key = data_key or self._sealer.new_data_key(number)
        is_same = row is not None and row["email_lookup"] == lookup
        sealed = None
        if entry.email and not is_same:
            sealed = self._sealer.seal(data_key, number, entry.email.strip().encode())
        return _Row(
            place=place,
            id=number,
            is_new=row is None,
            entry=entry,
            # A key is written with what it seals, or with the row: never over another writer's.
            data_key=data_key if sealed or row is None else None,
            email_sealed=sealed,
            email_lookup=lookup,
        )

    def _arguments(self, rows: list[_Row], signature: Signature) -> list[Any]:
        rows = sorted(rows, key=lambda row: row.id)
        columns = ("external_id", "time_zone", "locale", "cadence", "topics", "channels", "caps", "attributes")
        values = {name: [getattr(row.entry, name) for row in rows] for name in columns}
        named = sorted(name for name in columns if any(value is not None for value in values[name]))
        return [
            [row.id for row in rows],
            [row.is_new for row in rows],
            values["external_id"],
            [row.data_key for row in rows],
            [row.email_sealed for row in rows],
            [row.email_lookup for row in rows],
            *(values[name] for name in columns[1:]),
            self._shards,
            SUBSCRIBER_CHANGED.name,
            CE_SOURCE,
            signature.traceparent,
            signature.actor,
            signature.role,
            signature.request_id,
            named + (["email"] if any(row.email_sealed for row in rows) else []),
        ]

    def _opened(self, found: dict[str, Any]) -> dict[str, Any]:
        data_key, sealed = found.pop("data_key"), found.pop("email_sealed")
        opened = self._sealer.open(data_key, found["id"], sealed).decode() if data_key and sealed else None
        return {**found, "email": opened}
