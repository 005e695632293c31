"""Owns how a route reaches the stores of its application, and the paging that all lists share."""

from typing import Annotated, Any

from fastapi import Path, Query, Request

from ingest_api.problems import FieldError, invalid
from ingest_api.resources import Resources
from publishing.stores.channels import Channels
from publishing.stores.publications import Publications
from publishing.stores.subscribers import Subscribers

MAX_NUMBER = 2**63 - 1

Number = Annotated[int, Path(ge=1, le=MAX_NUMBER)]
ChannelNumber = Annotated[int, Path(ge=1, le=2**31 - 1)]
Limit = Annotated[int, Query(ge=1, le=200, description="Items a part, at most 200.")]
Cursor = Annotated[str, Query(max_length=20, description="What `next` of the part before said.")]


def resources_of(request: Request) -> Resources:
    """Return the connections of the application that the request came to."""
    resources: Resources = request.app.state.resources
    return resources


def subscribers_of(request: Request) -> Subscribers:
    """Return the store of subscribers; raises a 503 problem while the database is away."""
    resources = resources_of(request)
    return Subscribers(resources.pool.require(), resources.sealer, shards=resources.settings.audience_shards)


def channels_of(request: Request) -> Channels:
    """Return the store of channels; raises a 503 problem while the database is away."""
    resources = resources_of(request)
    return Channels(resources.pool.require(), resources.sealer, shards=resources.settings.audience_shards)


def publications_of(request: Request) -> Publications:
    """Return the store of publications; raises a 503 problem while the database is away."""
    resources = resources_of(request)
    return Publications(resources.pool.require(), shards=resources.settings.audience_shards)


def after_of(cursor: str) -> int:
    """Read a cursor: the number of the last item that was shown; raises a 422 problem."""
    if not cursor:
        return 0
    if not (cursor.isascii() and cursor.isdigit()) or int(cursor) > MAX_NUMBER:
        raise invalid(FieldError("cursor", "is not a cursor of this list"))
    return int(cursor)


def next_of(rows: list[dict[str, Any]], limit: int) -> str | None:
    """Return the cursor of the part that follows, or None when this one was not full."""
    return str(rows[-1]["id"]) if len(rows) == limit else None
