"""Subscribers through the API: upserts, shards' change numbers, bulk, and what is refused."""

import asyncio
import json
import time
from typing import Any

import asyncpg
import pytest

pytestmark = pytest.mark.integration

READER = {
    "email": "reader@example.org",
    "external_id": "crm-7",
    "time_zone": "Europe/Paris",
    "locale": "en",
    "topics": {"databases": 1.0, "go": 0.5},
    "cadence": "daily",
    "channels": {"email": True},
    "caps": {"email": {"day": 3}},
    "attributes": {"plan": "pro"},
}


async def changes_by_shard(pool: asyncpg.Pool) -> dict[int, list[dict[str, Any]]]:
    """The announced changes of each shard in the order of their numbers."""
    found: dict[int, list[dict[str, Any]]] = {}
    for row in await pool.fetch("SELECT partition, payload FROM publishing_outbox ORDER BY id"):
        assert row["payload"]["shard"] == row["partition"]
        found.setdefault(row["partition"], []).extend(row["payload"]["changes"])
    return {shard: sorted(changes, key=lambda one: one["seq"]) for shard, changes in found.items()}


async def assert_gapless(pool: asyncpg.Pool, changes: int) -> None:
    """Every shard's changes are numbered 1, 2, 3 ... up to its mark."""
    by_shard = await changes_by_shard(pool)
    assert sum(len(found) for found in by_shard.values()) == changes
    marks = {row["shard"]: row["last_seq"] for row in await pool.fetch("SELECT * FROM publishing_shard_marks")}
    for shard, found in by_shard.items():
        assert [one["seq"] for one in found] == list(range(1, marks[shard] + 1))


async def test_new_and_known(bare_api: Any, pool: asyncpg.Pool) -> None:
    """A new address answers 201, a known one 200, and a field left out stays as it is."""
    made = await bare_api.post("/subscribers", READER, role="editor")
    assert made.status_code == 201, made.text
    first = made.json()
    assert first["status"] == "active"
    assert first["shard"] == first["id"] % bare_api.settings.audience_shards
    assert first["profile"] == {"topics": READER["topics"], "learned": {}, "events": 0}
    assert {name: first[name] for name in READER} == READER
    known = await bare_api.post("/subscribers", {"email": "READER@example.org", "cadence": "weekly"}, role="editor")
    assert known.status_code == 200
    assert known.json() == {**first, "cadence": "weekly", "version": 2}
    by_external_id = await bare_api.post("/subscribers", {"external_id": "crm-7", "email": "new@example.org"})
    assert by_external_id.status_code == 200
    assert by_external_id.json()["id"] == first["id"]
    assert by_external_id.json()["email"] == "new@example.org"
    shown = await bare_api.get(f"/subscribers/{first['id']}")
    assert shown.json() == by_external_id.json()
    await assert_gapless(pool, 3)
    row = await pool.fetchrow("SELECT * FROM publishing_subscribers")
    assert row is not None
    assert b"example" not in row["email_sealed"]


async def test_every_write_is_signed(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Each write leaves one audit row with counts and field names, and no value of a reader."""
    await bare_api.post("/subscribers", READER, role="editor", X_Request_Id="req-1")
    await bare_api.post("/subscribers", {"email": "reader@example.org", "locale": "fr"}, role="editor")
    await bare_api.post("/subscribers", {"email": "broken"}, role="editor")
    rows = await pool.fetch("SELECT * FROM publishing_audit ORDER BY id")
    assert [(row["action"], row["entity"], row["actor"], row["role"]) for row in rows] == [
        ("upsert", "subscriber", "tests", "editor")
    ] * 2
    assert rows[0]["request_id"] == "req-1"
    assert rows[0]["change"]["created"] == 1
    assert rows[1]["change"] == {"created": 0, "updated": 1, "fields": ["locale"]}
    assert "example.org" not in json.dumps([row["change"] for row in rows])


async def test_two_owners_clash(bare_api: Any) -> None:
    """An address of one subscriber with the external id of another answers 409."""
    await bare_api.post("/subscribers", {"email": "a@example.org", "external_id": "a"})
    await bare_api.post("/subscribers", {"email": "b@example.org", "external_id": "b"})
    clash = await bare_api.post("/subscribers", {"email": "a@example.org", "external_id": "b"})
    assert clash.status_code == 409
    assert clash.json()["errors"] == [{"field": "external_id", "message": "belongs to another subscriber"}]


async def test_parallel_creates_number_every_change(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Fifty creates at once leave gapless change numbers in every shard."""
    answers = await asyncio.gather(
        *(bare_api.post("/subscribers", {"email": f"r{number}@example.org"}) for number in range(50))
    )
    assert {one.status_code for one in answers} == {201}
    await assert_gapless(pool, 50)


async def test_parallel_creates_of_one_address(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Twenty creates of one address at once make one subscriber: one 201, nineteen 200."""
    answers = await asyncio.gather(*(bare_api.post("/subscribers", READER) for _ in range(20)))
    assert sorted(one.status_code for one in answers) == [200] * 19 + [201]
    assert await pool.fetchval("SELECT count(*) FROM publishing_subscribers") == 1
    await assert_gapless(pool, 20)


async def test_bulk_of_ten_thousand(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Ten thousand lines take a few seconds, bad lines are named, and the neighbours are stored."""
    lines = [json.dumps(READER | {"email": f"r{n}@example.org", "external_id": f"x{n}"}) for n in range(9_990)]
    bad = [b"{", b"[]", b'{"email": "broken"}', b'{"email": "a@example.org", "topics": {"x": 2}}', b"\xff\xfe"]
    body = "\n".join(lines[:5_000]).encode() + b"\n" + b"\n".join(bad) + b"\n" + "\n".join(lines[5_000:]).encode()
    repeats = [json.dumps({"email": "R0@example.org", "locale": f"l{letter}"}) for letter in "abcde"]
    body += b"\n" + "\n".join(repeats).encode()
    started_s = time.perf_counter()
    answer = await bare_api.post("/subscribers/bulk", body, role="editor")
    seconds = time.perf_counter() - started_s
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert (found["created"], found["updated"], found["refused"]) == (9_990, 5, 5)
    assert [error["line"] for error in found["errors"]] == list(range(5_001, 5_006))
    assert len(found["ids"]) == 10_000
    assert found["ids"][5_000:5_005] == [None] * 5
    assert set(found["ids"][-5:]) == {found["ids"][0]}
    assert (await bare_api.get(f"/subscribers/{found['ids'][0]}")).json()["locale"] == "le"
    await assert_gapless(pool, 9_995)
    longest = await pool.fetchval("SELECT max(jsonb_array_length(payload -> 'changes')) FROM publishing_outbox")
    assert longest <= 500
    audited = await pool.fetchval("SELECT sum((change ->> 'created')::int) FROM publishing_audit")
    assert audited == 9_990
    print(f"bulk of 10,000 lines: {seconds:.2f} s")  # noqa: T201  - a figure for whoever runs it with -s
    assert seconds < 15


async def test_lists_and_refusals(bare_api: Any, pool: asyncpg.Pool) -> None:
    """A list is walked by its cursor, each subscriber once; what is wrong or unknown writes nothing."""
    too_many = await bare_api.post("/subscribers/bulk", b'{"external_id": "a"}\n' * 10_001)
    assert too_many.status_code == 413
    refused = await bare_api.post("/subscribers", READER | {"time_zone": "Mars/Olympus"})
    assert (refused.status_code, refused.json()["errors"][0]["field"]) == (422, "time_zone")
    for table in ("publishing_subscribers", "publishing_outbox", "publishing_audit", "publishing_shard_marks"):
        assert await pool.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608  - names of this test
    for number in range(5):
        await bare_api.post("/subscribers", {"external_id": f"x{number}"})
    seen: list[int] = []
    cursor = ""
    while True:
        part = (await bare_api.get(f"/subscribers?limit=2&cursor={cursor}")).json()
        seen += [one["id"] for one in part["items"]]
        if part["next"] is None:
            break
        cursor = part["next"]
    assert len(seen) == 5
    assert seen == sorted(set(seen))
    assert (await bare_api.get("/subscribers?cursor=abc")).status_code == 422
    assert (await bare_api.get("/subscribers/999999")).status_code == 404
