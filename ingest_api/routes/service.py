"""Owns what operators ask of the process: health, liveness, readiness, metrics."""

import msgspec
from fastapi import APIRouter, Request
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.responses import Response

from ingest_api.access import resources_of
from ingest_api.auth import PREFIX
from publishing.runtime.health import run_checks
from publishing.runtime.metrics import REGISTRY

# Without it only speed is lost. Of broker and spool one is enough to take hits.
OPTIONAL = frozenset({"cache"})

router = APIRouter(tags=["service"])


@router.get("/health")
async def get_health(request: Request) -> Response:
    """Tell the state of every service that this process uses."""
    found = await run_checks(resources_of(request).checks())
    return _answer("ok" if set(found.values()) <= {"ok"} else "degraded", found, 200)


@router.get("/livez")
async def get_livez() -> Response:
    """Tell that the process answers."""
    return _answer("ok", {}, 200)


@router.get("/readyz")
async def get_readyz(request: Request) -> Response:
    """Tell whether the process can do its work: 503 while a service is away that it cannot do without."""
    found = await run_checks(resources_of(request).checks())
    optional = OPTIONAL | {"broker"} if found.get("spool") == "ok" else OPTIONAL | {"spool"}
    is_ready = all(state == "ok" for service, state in found.items() if service not in optional)
    return _answer("ok" if is_ready else "unready", found, 200 if is_ready else 503)


@router.get("/metrics")
async def get_metrics() -> Response:
    """Show the metrics in the text format of Prometheus."""
    return Response(generate_latest(REGISTRY), media_type=CONTENT_TYPE_LATEST)


@router.get(f"{PREFIX}/openapi.json", include_in_schema=False)
async def get_description(request: Request) -> Response:
    """Show the description of the API."""
    return Response(request.app.state.describe(), media_type="application/json")


def _answer(status: str, services: dict[str, str], code: int) -> Response:
    body = msgspec.json.encode({"status": status, "services": services})
    return Response(body, code, {"Cache-Control": "no-store"}, "application/json")
