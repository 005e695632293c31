"""Owns the route of feeds, which needs no token."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import ChannelNumber, channels_of, resources_of
from ingest_api.auth import PREFIX
from ingest_api.descriptions import PROBLEM
from ingest_api.feeds import CONTENT_TYPE, MAX_ENTRIES, Entry, rss
from ingest_api.problems import not_found
from publishing.stores import feed_entries

KIND = "feed"
MAX_AGE_S = 60

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["feeds"])


@router.head("/feeds/{channel_id}.rss", include_in_schema=False)
@router.get(
    "/feeds/{channel_id}.rss",
    responses={200: {"description": "RSS 2.0.", "content": {"application/rss+xml": {"schema": {"type": "string"}}}}},
)
async def get_feed(request: Request, channel_id: ChannelNumber) -> Response:
    """Show a feed's newest entries; 304 when the client has them."""
    found = await channels_of(request).config(channel_id)
    if found is None or found[0] != KIND:
        raise not_found("feed")
    resources = resources_of(request)
    rows = await feed_entries.newest(resources.pool.require(), channel_id, limit=MAX_ENTRIES)
    feed = rss(
        config=found[1],
        self_url=f"{resources.settings.public_url}{PREFIX}/feeds/{channel_id}.rss",
        entries=[Entry.of(row.guid, row.entry, row.published_at) for row in rows],
    )
    headers = {"ETag": feed.etag, "Cache-Control": f"public, max-age={MAX_AGE_S}", "X-Content-Type-Options": "nosniff"}
    if feed.last_modified is not None:
        headers["Last-Modified"] = feed.last_modified
    if feed.is_known(request.headers.get("if-none-match"), request.headers.get("if-modified-since")):
        return Response(None, 304, headers)
    return Response(feed.body, 200, headers, CONTENT_TYPE)
