"""Owns the routes of channels: creating them, testing them, and reading them without their secrets."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import ChannelNumber, Cursor, Limit, after_of, channels_of, next_of, resources_of
from ingest_api.auth import PREFIX
from ingest_api.bodies import ChannelBody, parse
from ingest_api.descriptions import PROBLEM, answers, takes_json
from ingest_api.edge import signature_of
from ingest_api.problems import FieldError, ProblemError, invalid, not_found
from ingest_api.samples import send_sample
from ingest_api.views import Page, answer, channel_view
from publishing.stores.channels import NameTakenError, NewChannel

# A provider that has not answered a check by then is left untested.
VALIDATION_WAIT_S = 3.0

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["channels"])


@router.post(
    "/channels",
    status_code=201,
    responses={201: answers("ChannelView", "Created.")},
    openapi_extra=takes_json("ChannelBody"),
)
async def post_channel(request: Request) -> Response:
    """Create a channel; its configuration is checked, sealed, and never shown again."""
    body = parse(ChannelBody, await request.body())
    topics = body.topics if isinstance(body.topics, dict) else dict.fromkeys(body.topics, 1.0)
    channel = NewChannel(
        kind=body.kind,
        name=body.name,
        config=body.config,
        topics=topics,
        limits=body.limits,
        validation=await _validation(body.kind, body.config),
    )
    try:
        row = await channels_of(request).create(channel, signature_of(request.scope))
    except NameTakenError as error:
        raise ProblemError(409, "A channel of this name exists.", (FieldError("name", "is taken"),)) from error
    return answer(channel_view(row), 201)


@router.post("/channels/{channel_id}/test", responses={200: answers("ChannelView", "The channel with the outcome.")})
async def test_channel(request: Request, channel_id: ChannelNumber) -> Response:
    """Send a marked sample through a room's channel, check an e-mail channel, and keep the outcome."""
    store = channels_of(request)
    found = await store.config(channel_id)
    if found is None:
        raise not_found("channel")
    kind, config = found
    outcome = await send_sample(resources_of(request).settings, kind, config, channel_id=channel_id)
    row = await store.validated(channel_id, outcome, signature_of(request.scope))
    if row is None:
        raise not_found("channel")
    return answer(channel_view(row))


@router.get("/channels", responses={200: answers("PageOfChannels", "A part of the list.")})
async def list_channels(request: Request, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """List channels by their numbers."""
    rows = await channels_of(request).page(after=after_of(cursor), limit=limit)
    return answer(Page([channel_view(row) for row in rows], next_of(rows, limit)))


@router.get("/channels/{channel_id}", responses={200: answers("ChannelView", "The channel.")})
async def get_channel(request: Request, channel_id: ChannelNumber) -> Response:
    """Show a channel."""
    row = await channels_of(request).one(channel_id)
    if row is None:
        raise not_found("channel")
    return answer(channel_view(row))


async def _validation(kind: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Check a configuration; raises a 422 problem when the channel cannot read it."""
    from sinks.channels import load
    from sinks.contract import ConfigError

    channel = load().get(kind)
    if channel is None:
        raise invalid(FieldError("kind", "is not available"))
    try:
        parsed = channel.parse_config(config)
    except ConfigError as error:
        raise invalid(FieldError(f"config.{error.field}", error.message)) from error
    try:
        async with asyncio.timeout(VALIDATION_WAIT_S):
            found = await channel.validate(parsed)
    except (TimeoutError, OSError):
        return {"status": "untested", "detail": "the provider did not answer the check"}
    return {"status": found.status, "detail": found.detail}
