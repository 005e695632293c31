"""Owns the routes of subscribers: one at a time, ten thousand lines at a time, and reading them."""

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import Cursor, Limit, Number, after_of, next_of, subscribers_of
from ingest_api.auth import PREFIX
from ingest_api.bodies import SubscriberBody, parse, parse_line
from ingest_api.descriptions import PROBLEM, answers, reference, takes, takes_json
from ingest_api.edge import signature_of
from ingest_api.problems import FieldError, ProblemError, not_found
from ingest_api.views import BulkError, BulkView, Page, answer, subscriber_view
from publishing.stores.subscribers import Clash, Stored, SubscriberEntry, SubscriberRaceError

MAX_LINES = 10_000
# Between slices the same process answers tracked links: 500 lines take some 5 ms.
SLICE_LINES = 500

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["subscribers"])


@router.post(
    "/subscribers",
    status_code=201,
    responses={201: answers("SubscriberView", "New."), 200: answers("SubscriberView", "Known, and changed.")},
    openapi_extra=takes_json("SubscriberBody"),
)
async def post_subscriber(request: Request) -> Response:
    """Create a subscriber, or change the one of this e-mail address or external id."""
    body = parse(SubscriberBody, await request.body())
    store = subscribers_of(request)
    try:
        (stored,) = await store.write([_entry(body)], signature_of(request.scope))
    except SubscriberRaceError as error:
        raise ProblemError(409, "Others keep changing this subscriber; try again.") from error
    if isinstance(stored, Clash):
        raise ProblemError(409, "Another subscriber has this value.", (_clash_error(stored),))
    row = await store.one(stored.id)
    if row is None:
        raise not_found("subscriber")
    return answer(subscriber_view(row), 201 if stored.is_new else 200)


@router.post(
    "/subscribers/bulk",
    responses={200: answers("BulkView", "What became of each line.")},
    openapi_extra=takes(("application/x-ndjson", reference("SubscriberBody"))),
)
async def post_subscribers(request: Request) -> Response:
    """Create or change up to 10,000 subscribers, a JSON object a line; a bad line leaves the others as they are."""
    lines = [line for line in (await request.body()).split(b"\n") if line.strip()]
    if len(lines) > MAX_LINES:
        raise ProblemError(413, f"A call takes at most {MAX_LINES} lines.")
    read: list[SubscriberBody | tuple[FieldError, ...]] = []
    for start in range(0, len(lines), SLICE_LINES):
        read += [parse_line(SubscriberBody, line) for line in lines[start : start + SLICE_LINES]]
        await asyncio.sleep(0)
    bodies = {place: body for place, body in enumerate(read) if isinstance(body, SubscriberBody)}
    errors = {place: found for place, found in enumerate(read) if isinstance(found, tuple)}
    try:
        entries = [_entry(body) for body in bodies.values()]
        written = await subscribers_of(request).write(entries, signature_of(request.scope)) if entries else []
    except SubscriberRaceError as error:
        raise ProblemError(409, "Others keep changing these subscribers; try again.") from error
    stored: dict[int, Stored] = {}
    for place, one in zip(bodies, written, strict=True):
        if isinstance(one, Clash):
            errors[place] = (_clash_error(one),)
        else:
            stored[place] = one
    created = sum(one.is_new for one in stored.values())
    view = BulkView(
        created=created,
        updated=len(stored) - created,
        refused=len(errors),
        ids=[stored[place].id if place in stored else None for place in range(len(lines))],
        errors=[BulkError(place + 1, found) for place, found in sorted(errors.items())],
    )
    return answer(view)


@router.get("/subscribers", responses={200: answers("PageOfSubscribers", "A part of the list.")})
async def list_subscribers(request: Request, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """List subscribers by their numbers."""
    rows = await subscribers_of(request).page(after=after_of(cursor), limit=limit)
    return answer(Page([subscriber_view(row) for row in rows], next_of(rows, limit)))


@router.get("/subscribers/{subscriber_id}", responses={200: answers("SubscriberView", "The subscriber.")})
async def get_subscriber(request: Request, subscriber_id: Number) -> Response:
    """Show a subscriber with what was learned."""
    row = await subscribers_of(request).one(subscriber_id)
    if row is None:
        raise not_found("subscriber")
    return answer(subscriber_view(row))


def _entry(body: SubscriberBody) -> SubscriberEntry:
    return SubscriberEntry(**{name: getattr(body, name) for name in body.__struct_fields__})


def _clash_error(clash: Clash) -> FieldError:
    return FieldError(clash.field, "belongs to another subscriber")
