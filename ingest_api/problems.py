"""Owns the answers that say what is wrong: RFC 9457 problem documents, and the exceptions that become them."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from publishing.runtime.logs import get_logger
from publishing.stores.availability import is_unavailable

MEDIA_TYPE = "application/problem+json"
# How long a client should wait before it asks a service that is away again.
RETRY_AFTER_S = 5

log = get_logger(__name__)


class FieldError(msgspec.Struct, frozen=True):
    """What is wrong with one field; neither part repeats what was sent."""

    field: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A problem document (RFC 9457); the type is a name, not an address to fetch."""

    type: str
    title: str
    status: int
    detail: str
    errors: tuple[FieldError, ...] = ()


class ProblemError(Exception):
    """The request cannot be answered as asked; the problem says why and goes to the client as it is."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: tuple[FieldError, ...] = (),
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Keep what is answered."""
        super().__init__(status, detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = dict(headers or {})

    def response(self) -> Response:
        """Make the answer."""
        return Response(self.body(), self.status, {**self.headers, "Cache-Control": "no-store"}, MEDIA_TYPE)

    def body(self) -> bytes:
        """Encode the problem document."""
        title = HTTPStatus(self.status).phrase
        name = title.lower().replace(" ", "-").replace("'", "")
        problem = Problem(
            type=f"urn:tidewire:problem:{name}",
            title=title,
            status=self.status,
            detail=self.detail,
            errors=self.errors,
        )
        return msgspec.json.encode(problem)


def invalid(*errors: FieldError) -> ProblemError:
    """Say which fields of the request are wrong."""
    return ProblemError(422, "The request is understood, but some of its fields are not valid.", errors)


def not_found(what: str) -> ProblemError:
    """Say that there is no such thing."""
    return ProblemError(404, f"There is no such {what}.")


def unavailable(service: str) -> ProblemError:
    """Say which service did not answer; nothing was written that a repeat of the request would write twice."""
    return ProblemError(503, f"The {service} does not answer; try again.", headers={"Retry-After": str(RETRY_AFTER_S)})


def install(app: FastAPI) -> None:
    """Make every error of the application a problem document."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)


def problem_of(error: Exception) -> ProblemError:
    """Return the problem that an unforeseen error is answered with; its text stays in the log."""
    if isinstance(error, ProblemError):
        return error
    if is_unavailable(error):
        log.warning("request.unavailable", error=type(error).__name__)
        return unavailable("database")
    log.error("request.failed", exc_info=error)
    return ProblemError(500, "The request failed by a fault of this service.")


async def _on_problem(_: Request, error: Exception) -> Response:
    return problem_of(error).response()


async def _on_invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return invalid(*(_field_error(one) for one in error.errors())).response()


def _field_error(found: Mapping[str, Any]) -> FieldError:
    return FieldError(".".join(str(part) for part in found["loc"][1:]), str(found["msg"]))


_DETAILS = {404: "There is no such address.", 405: "The address does not know this method."}


async def _on_http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    detail = _DETAILS.get(error.status_code, "The request cannot be answered.")
    return ProblemError(error.status_code, detail, headers=dict(error.headers or {})).response()
