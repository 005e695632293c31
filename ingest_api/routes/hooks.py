"""Owns the routes that providers call back: no token, each its own signature over the raw bytes of the body."""

from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import ChannelNumber
from ingest_api.descriptions import PROBLEM, takes
from ingest_api.hooks.receiving import Hooks
from ingest_api.hooks.refusals import MAX_HOOK_BYTES, too_large
from publishing.runtime.clock import utc_now

_ANSWERS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Durable, or nothing to be kept."},
    **PROBLEM,
}
# The form of a body is its provider's own.
_ANY: Final[dict[str, Any]] = {"type": "object"}
_JSON: Final = ("application/json", _ANY)

router = APIRouter(prefix="/hooks", responses=_ANSWERS, tags=["hooks"])


@router.post("/ses", openapi_extra=takes(("text/plain", _ANY), _JSON))
async def post_ses(request: Request) -> Response:
    """Take a message of Amazon SNS: an event of SES, or the confirmation of a topic that is allowed."""
    await _hooks(request).ses.receive(await _body(request, "ses"), utc_now())
    return Response(None, 200)


@router.post("/slack", openapi_extra=takes(("application/x-www-form-urlencoded", _ANY), _JSON))
async def post_slack(request: Request) -> Response:
    """Take a callback of Slack: the challenge of this address, or clicks on buttons."""
    body = await _body(request, "slack")
    challenge = await _hooks(request).slack.receive(dict(request.scope["headers"]), body, utc_now())
    if challenge is None:
        return Response(None, 200)
    return Response(msgspec.json.encode({"challenge": challenge}), 200, media_type="application/json")


@router.post("/webhook/{channel_id}", openapi_extra=takes(_JSON))
async def post_webhook(request: Request, channel_id: ChannelNumber) -> Response:
    """Take a callback of a webhook's receiving end, signed with the channel's own secret."""
    body = await _body(request, "webhook")
    await _hooks(request).webhook.receive(channel_id, dict(request.scope["headers"]), body, utc_now())
    return Response(None, 200)


def _hooks(request: Request) -> Hooks:
    hooks: Hooks = request.app.state.hooks
    return hooks


async def _body(request: Request, provider: str) -> bytes:
    """The raw body; raises a 413 problem."""
    body = await request.body()
    if len(body) > MAX_HOOK_BYTES:
        raise too_large(provider)
    return body
