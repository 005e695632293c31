"""Owns the management API: its routes, and the problems that its errors become."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI, Request
from starlette.responses import Response

from ingest_api import problems
from ingest_api.hooks.receiving import Hooks
from ingest_api.resources import Resources
from ingest_api.routes import (
    analytics,
    channels,
    content,
    dashboard,
    feeds,
    hooks,
    live,
    publications,
    service,
    subscribers,
)

ROUTERS = (
    content.router,
    publications.router,
    subscribers.router,
    channels.router,
    analytics.router,
    live.router,
    dashboard.router,
    feeds.router,
    hooks.router,
    service.router,
)


def management_api(resources: Resources | None = None) -> FastAPI:
    """Build the management API; without resources it can only be described."""

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        assert resources is not None
        await resources.start()
        try:
            yield
        finally:
            await resources.close()

    app = FastAPI(
        title="Tidewire",
        version="1",
        description="Decides which content reaches whom, where and when, and measures what came of it.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    app.state.resources = resources
    app.state.hooks = None if resources is None else Hooks(resources)
    problems.install(app)
    app.add_exception_handler(Exception, _on_fault)
    for router in ROUTERS:
        app.include_router(router)
    return app


async def _on_fault(_: Request, error: Exception) -> Response:
    return problems.problem_of(error).response()
