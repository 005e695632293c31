"""What the collector is measured beside: a constant answer in bare ASGI, and a FastAPI route with a model."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, Field

PIXEL = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-length", b"%d" % len(PIXEL)),
        (b"content-type", b"image/gif"),
        (b"cache-control", b"no-store, no-cache, must-revalidate, private, max-age=0"),
        (b"x-content-type-options", b"nosniff"),
    ],
}
_BODY = {"type": "http.response.body", "body": PIXEL}


async def constant(scope: Any, _: Any, send: Any) -> None:
    """Answer everything with the pixel and the headers that ours has, and look at nothing."""
    if scope["type"] == "http":
        await send(_START)
        await send(_BODY)


class HitSeen(BaseModel):
    """A hit as one would declare it."""

    run_id: int = Field(ge=0)
    publication_id: int = Field(ge=0)
    channel_id: int = Field(ge=0)
    destination: int = Field(ge=0)
    kind: Literal["opened", "clicked", "unsubscribed"]
    occurred_at: datetime
    agent: str = Field(max_length=512)


class Receipt(BaseModel):
    """What it is answered with."""

    accepted: bool
    destination: int


modelled = FastAPI(openapi_url=None)


@modelled.post("/hits")
async def take_hit(hit: HitSeen) -> Receipt:
    """Validate a hit and keep nothing."""
    return Receipt(accepted=True, destination=hit.destination)
