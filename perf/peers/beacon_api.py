"""What POST /e is measured beside: FastAPI with a list of models, and one aiokafka send an event."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Literal

from aiokafka import AIOKafkaProducer
from fastapi import Body, FastAPI, Request
from pydantic import BaseModel, Field

from publishing.runtime.producer import full_name
from publishing.runtime.settings import load_settings
from topics.catalog import CONTENT_SUBMITTED

LINGER_MS = 10


class SeenEvent(BaseModel):
    """An event as one would declare it, by numbers that nobody vouches for."""

    id: str = Field(min_length=1, max_length=64)
    kind: Literal["opened", "clicked"]
    run_id: int = Field(ge=0)
    publication_id: int = Field(ge=0)
    channel_id: int = Field(ge=0)
    destination: int = Field(ge=0)
    content_id: int = Field(0, ge=0)
    link: int = Field(0, ge=0)
    occurred_at: int = Field(ge=0)


class Taken(BaseModel):
    """What a batch is answered with."""

    accepted: int


@asynccontextmanager
async def lifespan(application: FastAPI) -> AsyncIterator[None]:
    """Open a producer that is as careful as ours; its topic is one that the bench does not use otherwise."""
    settings = load_settings("kafka_bootstrap_servers")
    producer = AIOKafkaProducer(
        bootstrap_servers=settings.kafka, acks="all", enable_idempotence=True, linger_ms=LINGER_MS
    )
    await producer.start()
    application.state.producer = producer
    application.state.topic = full_name(settings, CONTENT_SUBMITTED)
    yield
    await producer.stop()


app = FastAPI(openapi_url=None, lifespan=lifespan)


@app.post("/events")
async def take_events(request: Request, events: Annotated[list[SeenEvent], Body(max_length=500)]) -> Taken:
    """Send each event, and answer when the broker has all of them."""
    producer, topic = request.app.state.producer, request.app.state.topic
    agent = request.headers.get("user-agent", "")
    sent = [
        await producer.send(
            topic, json.dumps({**one.model_dump(), "agent": agent}).encode(), key=str(one.destination).encode()
        )
        for one in events
    ]
    await asyncio.gather(*sent)
    return Taken(accepted=len(events))
