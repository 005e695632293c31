"""Owns the routes of publications and their runs: creating one, and what became of it."""

import datetime as dt

import msgspec
from fastapi import APIRouter, Request
from starlette.responses import Response

from ingest_api.access import Cursor, Limit, Number, after_of, channels_of, next_of, publications_of, resources_of
from ingest_api.auth import PREFIX
from ingest_api.bodies import PublicationBody, parse
from ingest_api.descriptions import PROBLEM, answers, takes_json
from ingest_api.edge import signature_of
from ingest_api.problems import FieldError, invalid, not_found
from ingest_api.views import ConservationView, Page, RunView, answer, publication_view
from publishing.domain.publications import TriggerKind, first_status
from publishing.runtime.clock import utc_now
from publishing.stores import runs
from publishing.stores.publications import NewPublication

router = APIRouter(prefix=PREFIX, responses=PROBLEM, tags=["publications"])


@router.post(
    "/publications",
    status_code=201,
    responses={201: answers("PublicationView", "Created.")},
    openapi_extra=takes_json("PublicationBody"),
)
async def post_publication(request: Request) -> Response:
    """Create a publication: now makes its run at once, at waits for its time, on_content waits for content."""
    body = parse(PublicationBody, await request.body())
    unknown = await channels_of(request).unknown(body.channels)
    if unknown:
        raise invalid(FieldError("channels", "names a channel that does not exist"))
    publication = _new_publication(body, utc_now())
    row = await publications_of(request).create(publication, signature_of(request.scope))
    return answer(publication_view(row), 201)


@router.get("/publications", responses={200: answers("PageOfPublications", "A part of the list, without results.")})
async def list_publications(request: Request, limit: Limit = 50, cursor: Cursor = "") -> Response:
    """List publications by their numbers."""
    rows = await publications_of(request).page(after=after_of(cursor), limit=limit)
    return answer(Page([publication_view(row) for row in rows], next_of(rows, limit)))


@router.get("/publications/{publication_id}", responses={200: answers("PublicationView", "The publication.")})
async def get_publication(request: Request, publication_id: Number) -> Response:
    """Show a publication with its runs, the states of its deliveries, and its engagement."""
    row = await publications_of(request).one(publication_id)
    if row is None:
        raise not_found("publication")
    return answer(publication_view(row))


@router.get("/runs/{run_id}", responses={200: answers("RunView", "The run.")})
async def get_run(request: Request, run_id: Number) -> Response:
    """Show a run with the states of its deliveries."""
    row = await runs.one(resources_of(request).pool.require(), run_id)
    if row is None:
        raise not_found("run")
    return answer(msgspec.convert(row, RunView))


@router.get("/runs/{run_id}/conservation", responses={200: answers("ConservationView", "The law, and if it holds.")})
async def get_conservation(request: Request, run_id: Number) -> Response:
    """Show whether every candidate of a run is accounted for."""
    row = await runs.conservation(resources_of(request).pool.require(), run_id)
    if row is None:
        raise not_found("run")
    return answer(msgspec.convert(row, ConservationView))


def _new_publication(body: PublicationBody, now: dt.datetime) -> NewPublication:
    """Turn a body into what is stored; times are kept to the millisecond, as messages carry them."""
    definition = msgspec.to_builtins(body)
    name = definition.pop("name")
    due_at = body.trigger.at if body.trigger.kind is TriggerKind.AT else None
    run_at = now.replace(microsecond=now.microsecond // 1000 * 1000) if body.trigger.kind is TriggerKind.NOW else None
    is_limited = run_at is not None and body.deadline_minutes is not None
    return NewPublication(
        name=name,
        status=first_status(body.trigger.kind),
        definition=definition,
        next_due_at=due_at,
        run_at=run_at,
        deadline_at=run_at + dt.timedelta(minutes=body.deadline_minutes or 0) if is_limited and run_at else None,
    )
