"""Channels, publications and runs through the API: rows, announcements and audit in one statement."""

import datetime as dt
from typing import Any

import asyncpg
import pytest

from publishing.domain.publications import Publication
from publishing.runtime.sealing import Sealer
from publishing.stores.channels import Channels

pytestmark = pytest.mark.integration

FEED = {"kind": "feed", "name": "news", "config": {"title": "N", "link": "https://example.org", "description": "D"}}
EMAIL = {"kind": "email", "name": "letters", "config": {"sender": "News <news@example.org>"}}
PUBLICATION = {
    "name": "Weekly",
    "trigger": {"kind": "now"},
    "content": {"topics_any": ["databases"], "type": "article", "max_age_hours": 24},
    "audience": {"topics_any": [], "attributes": {"plan": "pro"}},
    "selection": {"count": 3, "minimum_score": 0.1, "diversity": 0.5},
    "deadline_minutes": 720,
}


async def announced(pool: asyncpg.Pool, topic: str) -> list[dict[str, Any]]:
    """The payloads of a topic in the order of their partitions."""
    rows = await pool.fetch("SELECT * FROM publishing_outbox WHERE topic = $1 ORDER BY id", topic)
    assert all(row["traceparent"] for row in rows)
    return [row["payload"] for row in rows]


async def test_channels(bare_api: Any, pool: asyncpg.Pool) -> None:
    """A room gets a destination number and is announced to its shard; no secret comes back or lies in the open."""
    made = await bare_api.post("/channels", FEED | {"topics": ["go", "databases"], "limits": {"per_second": 1}})
    assert made.status_code == 201, made.text
    room = made.json()
    assert (room["kind"], room["status"], room["topics"]) == ("feed", "active", ["databases", "go"])
    assert set(room["validation"]) == {"status", "detail"}
    assert "config" not in room
    email = (await bare_api.post("/channels", EMAIL)).json()
    assert (await bare_api.get(f"/channels/{room['id']}")).json() == room
    assert [one["id"] for one in (await bare_api.get("/channels")).json()["items"]] == [room["id"], email["id"]]
    row = await pool.fetchrow("SELECT * FROM publishing_channels WHERE id = $1", room["id"])
    assert row is not None
    shards = bare_api.settings.audience_shards
    assert row["shard"] == row["destination"] % shards
    assert b"example" not in row["config_sealed"]
    (change,) = await announced(pool, "subscriber.changed.v1")
    assert change == {
        "shard": row["shard"],
        "changes": [{"destination": row["destination"], "seq": 1, "version": 1}],
    }
    store = Channels(pool, Sealer(bare_api.settings.sealing), shards=shards)
    assert await store.config(room["id"]) == ("feed", FEED["config"])
    taken = await bare_api.post("/channels", FEED)
    assert (taken.status_code, taken.json()["errors"][0]["field"]) == (409, "name")
    wrong = await bare_api.post("/channels", FEED | {"name": "b", "config": {"title": "N", "secret": "canary"}})
    assert wrong.status_code == 422
    assert wrong.json()["errors"][0]["field"].startswith("config.")
    assert "canary" not in wrong.text
    assert (await bare_api.get("/channels/99")).status_code == 404
    tested = await bare_api.post(f"/channels/{email['id']}/test", {})
    assert tested.status_code == 200, tested.text
    assert tested.json()["validation"]["status"] in {"ok", "failed", "untested"}
    assert (await bare_api.post("/channels/99/test", {})).status_code == 404
    audited = await pool.fetch("SELECT action, entity_id, change FROM publishing_audit ORDER BY id")
    ids = [str(room["id"]), str(email["id"]), str(email["id"])]
    assert [(one["action"], one["entity_id"]) for one in audited] == list(
        zip(["create", "create", "test"], ids, strict=True)
    )
    assert audited[0]["change"] == {"kind": "feed", "fields": ["description", "link", "title"]}


async def test_a_publication_that_is_due_now(bare_api: Any, pool: asyncpg.Pool) -> None:
    """Its run and what tells every shard stand in the same statement, each with that shard's last change number."""
    channel = (await bare_api.post("/channels", FEED)).json()["id"]
    for number in range(9):
        await bare_api.post("/subscribers", {"external_id": f"x{number}"})
    await pool.execute("UPDATE publishing_content_mark SET last_batch_id = 6")
    made = await bare_api.post("/publications", PUBLICATION | {"channels": [channel]}, role="editor")
    assert made.status_code == 201, made.text
    publication = made.json()
    assert (publication["status"], publication["channel_results"]) == ("running", [])
    (run_id,) = publication["runs"]
    due = await announced(pool, "publication.due.v1")
    shards = bare_api.settings.audience_shards
    marks = {row["shard"]: row["last_seq"] for row in await pool.fetch("SELECT * FROM publishing_shard_marks")}
    assert [one["shard"] for one in due] == list(range(shards))
    assert [one["after_subscribers"] for one in due] == [marks.get(shard, 0) for shard in range(shards)]
    assert {one["after_content"] for one in due} == {6}
    assert {(one["run_id"], one["publication_id"]) for one in due} == {(run_id, publication["id"])}
    changed = await announced(pool, "publication.changed.v1")
    assert changed == [{"publication_id": publication["id"], "version": 1, "status": "running"}] * shards
    run = (await bare_api.get(f"/runs/{run_id}")).json()
    assert (run["status"], run["shards"], run["shards_planned"]) == ("running", shards, 0)
    due_at = dt.datetime.fromisoformat(run["due_at"])
    assert dt.datetime.fromisoformat(run["deadline_at"]) - due_at == dt.timedelta(hours=12)
    assert dt.datetime.fromisoformat(due[0]["due_at"]) == due_at
    assert publication["estimated_delivery_at"] == run["due_at"]
    row = await pool.fetchrow("SELECT * FROM publishing_publications")
    assert row is not None
    stored = Publication.from_row(dict(row))
    assert (stored.channels, stored.after_content, stored.deadline_minutes) == ((channel,), 6, 720)
    assert (stored.content.topics_any, stored.audience.attributes) == (("databases",), {"plan": "pro"})
    conservation = (await bare_api.get(f"/runs/{run_id}/conservation")).json()
    assert conservation == {
        "run_id": run_id,
        "candidates": 0,
        "excluded": {},
        "planned": 0,
        "unclaimed": 0,
        "by_state": {},
        "planned_by_all": False,
        "holds": True,
    }
    audited = await pool.fetchrow("SELECT * FROM publishing_audit WHERE entity = 'publication'")
    assert audited is not None
    assert (audited["entity_id"], audited["actor"], audited["role"]) == (str(publication["id"]), "tests", "editor")
    await _results(bare_api, pool, publication, run_id, channel)


async def _results(api: Any, pool: asyncpg.Pool, publication: dict[str, Any], run_id: int, channel: int) -> None:
    """What became of deliveries and engagement is shown beside the publication and its run."""
    await pool.execute(
        "INSERT INTO publishing_deliveries (run_day, run_id, channel_id, destination, publication_id, shard, chunk, "
        "lane, state, content_ids, scores) SELECT run_day, id, $2, 1, publication_id, 1, 0, 'bulk', 'accepted', "
        "'{1}', '{0.5}' FROM publishing_runs WHERE id = $1",
        run_id,
        channel,
    )
    now = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    await pool.executemany(
        "INSERT INTO publishing_analytics VALUES ($1, $2, $3, $4, $5, 0, $6, 'human', $7, 1, 0, 0, $2, $2)",
        [("day", now, publication["id"], run_id, channel, "opened", 4)],
    )
    shown = (await api.get(f"/publications/{publication['id']}")).json()
    assert shown["channel_results"] == [{"channel_id": channel, "states": {"accepted": 1}}]
    assert shown["engagement"] == {"opened": 4, "clicked": 0}
    assert shown["runs"] == [run_id]
    assert (await api.get(f"/runs/{run_id}")).json()["channel_results"] == shown["channel_results"]
    listed = (await api.get("/publications")).json()["items"]
    assert [one["id"] for one in listed] == [publication["id"]]


async def test_other_triggers(bare_api: Any, pool: asyncpg.Pool) -> None:
    """At waits for its time, on_content runs without a run yet, every is not available, unknown channels are named."""
    channel = (await bare_api.post("/channels", FEED)).json()["id"]
    body = PUBLICATION | {"channels": [channel]}
    at = (
        await bare_api.post("/publications", body | {"trigger": {"kind": "at", "at": "2090-01-05T09:00:00+01:00"}})
    ).json()
    assert (at["status"], at["runs"], at["estimated_delivery_at"]) == ("scheduled", [], "2090-01-05T08:00:00Z")
    alert = (
        await bare_api.post("/publications", body | {"trigger": {"kind": "on_content"}, "priority": "alert"})
    ).json()
    assert (alert["status"], alert["runs"], alert["estimated_delivery_at"]) == ("running", [], None)
    assert await announced(pool, "publication.due.v1") == []
    assert len(await announced(pool, "publication.changed.v1")) == 2 * bare_api.settings.audience_shards
    every = await bare_api.post("/publications", body | {"trigger": {"kind": "every", "rrule": "FREQ=DAILY"}})
    assert (every.status_code, every.json()["errors"][0]["field"]) == (422, "trigger.kind")
    unknown = await bare_api.post("/publications", body | {"channels": [channel, 999]})
    assert (unknown.status_code, unknown.json()["errors"][0]["field"]) == (422, "channels")
    assert await pool.fetchval("SELECT count(*) FROM publishing_publications") == 2
    for path in ("/publications/999", "/runs/999", "/runs/999/conservation"):
        assert (await bare_api.get(path)).status_code == 404
