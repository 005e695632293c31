"""Owns the addresses of the dashboard: its page, its parts, its session, its files."""

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ingest_api.access import resources_of
from ingest_api.auth import TokenRules, authenticate
from ingest_api.dashboard import assets, facts, pages, session
from ingest_api.dashboard.view import View, read
from ingest_api.problems import ProblemError, not_found
from publishing.runtime.clock import utc_now

HOME: Final = "/dashboard"
# Tells htmx to load the page anew, which shows the sign-in form.
RELOAD: Final = {"HX-Refresh": "true"}
SEE_OTHER: Final = 303

router = APIRouter(include_in_schema=False)


@router.get(HOME)
async def get_dashboard(request: Request) -> Response:
    """Show the dashboard, or the form that asks for a token."""
    if not _is_signed_in(request):
        return _page(pages.sign_in())
    return await _rendered(request, "dashboard.html")


@router.get(f"{HOME}/view")
async def get_view(request: Request) -> Response:
    """Show the controls and the panels of another view; the browser's address follows."""
    if not _is_signed_in(request):
        return Response(None, 401, {**RELOAD, "Cache-Control": "no-store"})
    return await _rendered(request, "view.html")


@router.get(f"{HOME}/panels")
async def get_panels(request: Request) -> Response:
    """Show the panels of the view at hand again."""
    if not _is_signed_in(request):
        return Response(None, 401, {**RELOAD, "Cache-Control": "no-store"})
    return await _rendered(request, "panels.html")


@router.post(f"{HOME}/session")
async def post_session(request: Request) -> Response:
    """Begin a session that lasts as long as the token that was given."""
    _refuse_other_sites(request)
    token = session.token_of(await request.body())
    try:
        principal = authenticate(_rules(request), f"Bearer {token}")
    except ProblemError:
        return _page(pages.sign_in("This token is not valid here, or it has expired."), 401)
    max_age_s = principal.expires_at_s - int(utc_now().timestamp())
    is_secure = resources_of(request).settings.public_url.startswith("https://")
    cookie = session.cookie_of(token, max_age_s=max_age_s, is_secure=is_secure)
    return RedirectResponse(HOME, SEE_OTHER, {"Set-Cookie": cookie, "Cache-Control": "no-store"})


@router.post(f"{HOME}/session/end")
async def post_session_end(request: Request) -> Response:
    """End the session in this browser."""
    _refuse_other_sites(request)
    is_secure = resources_of(request).settings.public_url.startswith("https://")
    cookie = session.cookie_of("", max_age_s=0, is_secure=is_secure)
    return RedirectResponse(HOME, SEE_OTHER, {"Set-Cookie": cookie, "Cache-Control": "no-store"})


@router.get(assets.PREFIX + "/{digest}/{name:path}")
async def get_asset(digest: str, name: str) -> Response:
    """Show a style sheet, script or picture; an address never changes its bytes."""
    asset = assets.BY_ADDRESS.get((digest, name))
    if asset is None:
        raise not_found("file")
    return Response(asset.body, 200, {**assets.HEADERS, "Content-Type": asset.content_type})


async def _rendered(request: Request, template: str) -> Response:
    now = utc_now()
    view: View = read(request.query_params, now)
    resources = resources_of(request)
    pool = resources.pool.opened
    found = await facts.read(pool, resources.log_ends, view, now)
    publications = await facts.publications(pool if found else None)
    response = _page(pages.render(template, view, found, publications, now))
    if template == "view.html":
        response.headers["HX-Replace-Url"] = f"{HOME}?{view.query}"
    return response


def _page(text: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(text, status, dict(pages.SECURITY_HEADERS))


def _rules(request: Request) -> TokenRules:
    return TokenRules.of(resources_of(request).settings)


def _is_signed_in(request: Request) -> bool:
    return session.principal_in(request.headers.get("cookie", ""), _rules(request)) is not None


def _refuse_other_sites(request: Request) -> None:
    if session.is_from_elsewhere(request.headers.get("sec-fetch-site", "")):
        raise ProblemError(403, "The dashboard's session begins and ends on its own pages.")
