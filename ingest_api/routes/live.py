"""Owns the route of live hints: server-sent events that say what has changed, never the numbers themselves."""

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from ingest_api.access import resources_of
from ingest_api.auth import PREFIX
from ingest_api.descriptions import PROBLEM

HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no", "X-Content-Type-Options": "nosniff"}

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["analytics"])


@router.get(
    "/live",
    responses={200: {"description": "Events.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}},
    response_class=StreamingResponse,
)
async def get_live(request: Request) -> StreamingResponse:
    """Stream hints as server-sent events: `windows`, `suppressed`, and `state` of the cache they come through."""
    return StreamingResponse(resources_of(request).live.open(), headers=HEADERS, media_type="text/event-stream")
