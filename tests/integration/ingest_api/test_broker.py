"""What the API sends to the broker: content that was submitted, hits, and unsubscriptions; and feeds."""

import json
from typing import Any

import asyncpg
import httpx
import pytest

from ingest_api.auth import PREFIX
from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.runtime.correlation import header
from publishing.stores.feed_entries import FeedEntry, add
from schemas.codec import decode
from schemas.frames import KINDS, decode_frame
from schemas.messages import ContentSubmitted
from topics.catalog import CONTENT_SUBMITTED, ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

ITEM: dict[str, Any] = {
    "source": "wire",
    "id": "story-1",
    "version": 1,
    "type": "article",
    "title": "Databases that wait",
    "url": "https://example.org/1",
    "topics": {"databases": 1.0},
    "language": "en",
    "published_at": "2026-01-05T08:00:00Z",
}


async def test_content(api: Any, records: Any) -> None:
    """Items are in the topic when the answer comes; a bad one is named and its neighbours pass."""
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one = await api.post("/content", ITEM, role="editor", traceparent=trace)
    assert one.status_code == 202, one.text
    assert one.json()["results"] == [{"line": 1, "status": "accepted", "source": "wire", "id": "story-1"}]
    bad = [ITEM | {"url": "javascript:x"}, ITEM | {"topics": {"x": 2}}, ITEM | {"title": "a\u0000b"}, ITEM | {"x": 1}]
    listed = (await api.post("/content", [ITEM | {"id": "story-2"}, *bad, 7])).json()
    assert (listed["accepted"], listed["refused"]) == (1, 5)
    fields = [result["errors"][0]["field"].split(".")[0] for result in listed["results"][1:]]
    assert fields == ["url", "topics", "title", "x", ""]
    lines = "\n".join(json.dumps(ITEM | {"id": f"line-{n}"}) for n in range(50)) + "\n{broken\n"
    headers = api.bearer("editor") | {"Content-Type": "application/x-ndjson"}
    answer = await api.client.post(f"{PREFIX}/content", content=lines, headers=headers)
    assert (answer.json()["accepted"], answer.json()["refused"]) == (50, 1)
    assert (await api.post("/content", ITEM | {"version": 0})).status_code == 422
    found = await records(CONTENT_SUBMITTED, 52)
    assert sorted(decode(record.value, ContentSubmitted).id for record in found) == sorted(
        ["story-1", "story-2", *(f"line-{n}" for n in range(50))]
    )
    first = next(record for record in found if record.key == b"wire/story-1")
    assert header(first.headers, "traceparent") == trace
    assert header(first.headers, "ce_type") == "tidewire.ContentSubmitted"


async def test_hits(api: Any, records: Any, pool: asyncpg.Pool) -> None:
    """An answered hit is in its shard's partition; an unsubscription is also written at once, and only once."""
    ring = api.settings.tracking
    numbers = {"run_id": 77, "publication_id": 12, "channel_id": 3}
    article = sign_article(ring, run_id=77, content_id=9, link=2, url="https://example.org/a")
    for destination in range(1, 9):
        opened = sign_reader(ring, purpose=Purpose.OPEN, **numbers, destination=destination)
        clicked = sign_reader(ring, purpose=Purpose.CLICK, **numbers, destination=destination)
        assert (await api.client.get(f"/o/{opened}.gif")).status_code == 200
        assert (await api.client.get(f"/c/{article}/{clicked}")).status_code == 302
        assert (await api.client.head(f"/c/{article}/{clicked}")).status_code == 302
    leaving = sign_reader(ring, purpose=Purpose.UNSUBSCRIBE, **numbers, destination=5)
    assert (await api.client.get(f"/u/{leaving}")).status_code == 200
    assert await pool.fetchval("SELECT count(*) FROM publishing_suppressions") == 0
    for _ in range(2):
        form = {"List-Unsubscribe": "One-Click"}
        assert (await api.client.post(f"/u/{leaving}", data=form)).status_code == 200
    rows = await pool.fetch("SELECT destination, scope, reason, source FROM publishing_suppressions")
    assert [tuple(row) for row in rows] == [(5, "channel:3", "unsubscribed", "ingest_api/one-click")]
    found = await records(ENGAGEMENT_RECORDED, 18)
    hits = []
    for record in found:
        for event in decode_frame(record.value).events:
            assert record.partition == int(event["destination"]) % api.settings.audience_shards
            hits.append((str(KINDS[event["kind"]]), int(event["destination"])))
    assert sorted(hits) == sorted(
        [(kind, number) for kind in ("opened", "clicked") for number in range(1, 9)] + [("unsubscribed", 5)] * 2
    )


async def test_feeds(bare_api: Any, pool: asyncpg.Pool) -> None:
    """A feed is read without a token, by its validators only once, and only of a feed channel."""
    import datetime as dt

    config = {"title": "News & more", "link": "https://example.org", "description": "All"}
    channel = (await bare_api.post("/channels", {"kind": "feed", "name": "f", "config": config})).json()["id"]
    email = {"kind": "email", "name": "e", "config": {"sender": "News <news@example.org>"}}
    other = (await bare_api.post("/channels", email)).json()["id"]
    at = dt.datetime(2026, 1, 5, tzinfo=dt.UTC)
    stored = {"title": "<b>\u0007A</b>", "url": "https://example.org/1", "summary": "S"}
    entries = [FeedEntry(guid=f"{channel}-1", content_id=1, entry=stored, published_at=at)]
    await add(pool, channel_id=channel, run_id=1, entries=entries)
    path = f"{PREFIX}/feeds/{channel}.rss"
    shown = await bare_api.client.get(path)
    assert shown.status_code == 200, shown.text
    assert shown.headers["content-type"].startswith("application/rss+xml")
    assert "<title>News &amp; more</title>" in shown.text
    assert "&lt;b&gt;A&lt;/b&gt;" in shown.text
    assert shown.headers["last-modified"] == "Mon, 05 Jan 2026 00:00:00 GMT"
    known = await bare_api.client.get(path, headers={"If-None-Match": shown.headers["etag"]})
    assert (known.status_code, known.content) == (304, b"")
    since = await bare_api.client.get(path, headers={"If-Modified-Since": shown.headers["last-modified"]})
    assert since.status_code == 304
    head = await bare_api.client.head(path)
    assert (head.status_code, head.headers["etag"], head.content) == (200, shown.headers["etag"], b"")
    for number in (other, 999):
        missing: httpx.Response = await bare_api.client.get(f"{PREFIX}/feeds/{number}.rss")
        assert missing.status_code == 404
    health = (await bare_api.client.get("/health")).json()
    assert health == {"status": "ok", "services": {"database": "ok", "broker": "ok", "cache": "ok"}}
    assert (await bare_api.client.get("/readyz")).status_code == 200
