"""Owns the intake of content: every item is checked alone, and produced before the answer."""

import asyncio
from collections.abc import Sequence

import msgspec
from aiokafka import AIOKafkaProducer
from aiokafka.errors import KafkaError
from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import resources_of
from ingest_api.auth import PREFIX
from ingest_api.descriptions import PROBLEM, answers, reference, takes
from ingest_api.problems import FieldError, ProblemError, invalid, unavailable
from ingest_api.views import ContentResult, ContentView, answer
from publishing.domain.content import ContentError, check
from publishing.domain.links import LinkError, check_target
from publishing.runtime.clock import utc_now
from publishing.runtime.correlation import record_headers
from publishing.runtime.producer import full_name
from schemas.codec import decode_json, encode
from schemas.errors import MalformedPayloadError, SchemaError
from schemas.messages import ContentSubmitted
from topics.catalog import CONTENT_SUBMITTED

MAX_ITEMS = 10_000
# Longer than a leader's election takes, shorter than a client's patience.
BROKER_WAIT_S = 10.0
CE_SOURCE = "tidewire/content"

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["content"])
_RAW_LIST = msgspec.json.Decoder(list[msgspec.Raw])
_RAW = msgspec.json.Decoder(msgspec.Raw)


@router.post(
    "/content",
    status_code=202,
    responses={202: answers("ContentView", "One result an item.")},
    openapi_extra=takes(
        (
            "application/json",
            {"oneOf": [reference("ContentSubmitted"), {"type": "array", "items": reference("ContentSubmitted")}]},
        ),
        ("application/x-ndjson", reference("ContentSubmitted")),
    ),
)
async def post_content(request: Request) -> Response:
    """Submit items: an object, a list, or an object a line; a refused item leaves its neighbours as they are."""
    raw = (await request.body()).strip()
    is_single, items = _split(raw, request.headers.get("content-type", ""))
    if len(items) > MAX_ITEMS:
        raise ProblemError(413, f"A call takes at most {MAX_ITEMS} items.")
    read = [_read(item) for item in items]
    if is_single and isinstance(read[0], FieldError):
        raise invalid(read[0])
    resources = resources_of(request)
    accepted = [one for one in read if not isinstance(one, FieldError)]
    if accepted:
        await _produce(resources.producer.require(), full_name(resources.settings, CONTENT_SUBMITTED), accepted)
    results = [_result(line, one) for line, one in enumerate(read, start=1)]
    return answer(ContentView(accepted=len(accepted), refused=len(read) - len(accepted), results=results), 202)


def _split(raw: bytes, content_type: str) -> tuple[bool, list[bytes]]:
    """Return whether the body is one object, and its items; raises a 422 problem for what is no JSON at all."""
    if not raw:
        raise invalid(FieldError("", "is empty"))
    if "ndjson" not in content_type and "jsonl" not in content_type:
        try:
            if raw.startswith(b"["):
                return False, [bytes(item) for item in _RAW_LIST.decode(raw)]
            return True, [bytes(_RAW.decode(raw))]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            if not raw.startswith(b"{") or b"\n" not in raw:
                raise invalid(FieldError("", "is not JSON")) from error
    return False, [line for line in raw.split(b"\n") if line.strip()]


def _read(item: bytes) -> tuple[ContentSubmitted, bytes] | FieldError:
    """Check one item and encode it, or say what is wrong with it."""
    try:
        message = decode_json(item)
        check(message, now=utc_now())
        check_target(message.url)
        return message, encode(message)
    except MalformedPayloadError as error:
        # A name that had to be altered to be shown is not shown: it may be anything, an address too.
        return FieldError("?" if "?" in error.field else error.field, error.detail)
    except SchemaError as error:
        return FieldError("", error.reason)
    except ContentError as error:
        return FieldError(error.field, error.remedy)
    except LinkError as error:
        return FieldError("url", error.reason)


async def _produce(producer: AIOKafkaProducer, topic: str, items: Sequence[tuple[ContentSubmitted, bytes]]) -> None:
    """Send all items and wait for every acknowledgement; raises a 503 problem: a repeat writes nothing twice."""
    try:
        async with asyncio.timeout(BROKER_WAIT_S):
            sent = []
            for message, payload in items:
                item = f"{message.source}/{message.id}"
                headers = record_headers(
                    "tidewire.ContentSubmitted",
                    ce_id=f"{item}/{message.version}",
                    ce_source=CE_SOURCE,
                    now=utc_now(),
                )
                sent.append(await producer.send(topic, payload, key=item.encode(), headers=headers))
            await asyncio.gather(*sent)
    except (TimeoutError, KafkaError, OSError) as error:
        raise unavailable("broker") from error


def _result(line: int, read: tuple[ContentSubmitted, bytes] | FieldError) -> ContentResult:
    if isinstance(read, FieldError):
        return ContentResult(line=line, status="refused", errors=(read,))
    return ContentResult(line=line, status="accepted", source=read[0].source, id=read[0].id)
