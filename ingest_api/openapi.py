"""Owns docs/generated/openapi.json: the description of every route, with the shapes that routes read and answer."""

import functools
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from ingest_api import bodies, views
from ingest_api.auth import is_protected
from ingest_api.management import management_api
from ingest_api.problems import Problem
from schemas.avsc import latest, shipped_versions

TARGET = Path(__file__).resolve().parent.parent / "docs" / "generated" / "openapi.json"
_TEMPLATE = "#/components/schemas/{name}"
_PAGES = {
    "PageOfSubscribers": "SubscriberView",
    "PageOfChannels": "ChannelView",
    "PageOfPublications": "PublicationView",
}
_SHOWN = (
    bodies.SubscriberBody,
    bodies.ChannelBody,
    bodies.PublicationBody,
    views.SubscriberView,
    views.ChannelView,
    views.PublicationView,
    views.RunView,
    views.ConservationView,
    views.BulkView,
    views.ContentView,
    views.EngagementView,
    views.PerformanceView,
    Problem,
)


def document() -> dict[str, Any]:
    """Describe the whole API, the tracked links included (OpenAPI 3.1)."""
    found = management_api().openapi()
    _, components = msgspec.json.schema_components(_SHOWN, ref_template=_TEMPLATE)
    schemas: dict[str, Any] = {**components, "ContentSubmitted": _content_schema()}
    for page, item in _PAGES.items():
        schemas[page] = {
            "type": "object",
            "required": ["items", "next"],
            "properties": {
                "items": {"type": "array", "items": {"$ref": _TEMPLATE.format(name=item)}},
                "next": {"type": ["string", "null"]},
            },
        }
    found["components"] = {
        "schemas": dict(sorted(schemas.items())),
        "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    }
    for path, operations in found["paths"].items():
        for operation in operations.values():
            operation["security"] = [{"bearer": []}] if is_protected(path) else []
    found["paths"] |= _tracking_paths()
    return found


@functools.cache
def text() -> str:
    """Spell the document as it is committed."""
    return json.dumps(document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def main(arguments: list[str]) -> int:
    """Write the document, or with --check only compare; returns 1 when it has drifted."""
    if arguments == ["--check"]:
        is_same = TARGET.is_file() and TARGET.read_text(encoding="utf-8") == text()
        if not is_same:
            sys.stderr.write("docs/generated/openapi.json has drifted: run python -m ingest_api.openapi\n")
        return 0 if is_same else 1
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(text(), encoding="utf-8")
    return 0


def _content_schema() -> dict[str, Any]:
    """Describe ContentSubmitted as JSON, from its Avro schema."""
    schema = latest(shipped_versions())["ContentSubmitted"].schema
    return {
        "type": "object",
        "additionalProperties": False,
        "description": schema["doc"],
        "required": [field["name"] for field in schema["fields"] if "default" not in field],
        "properties": {
            field["name"]: {**_json_type(field["type"]), "description": field["doc"]} for field in schema["fields"]
        },
    }


def _json_type(kind: Any) -> dict[str, Any]:
    if isinstance(kind, list):
        return {"anyOf": [_json_type(one) for one in kind]}
    if isinstance(kind, str):
        names = {"string": "string", "int": "integer", "double": "number", "boolean": "boolean", "null": "null"}
        return {"type": names[kind]}
    if kind["type"] == "enum":
        return {"type": "string", "enum": [symbol for symbol in kind["symbols"] if symbol != "unknown"]}
    if kind["type"] == "map":
        return {"type": "object", "additionalProperties": _json_type(kind["values"])}
    return {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "integer"}]}


_PAGE = {"content": {"text/html": {"schema": {"type": "string"}}}}
_NOWHERE = {"404": {"description": "No link of ours.", **_PAGE}}
_FORM = {
    "application/x-www-form-urlencoded": {
        "schema": {"type": "object", "properties": {"List-Unsubscribe": {"const": "One-Click"}}}
    }
}


def _tracking_paths() -> dict[str, Any]:
    """Describe what the front answers, which FastAPI does not know."""
    pixel = {"200": {"description": "A pixel.", "content": {"image/gif": {}}}}
    click = {"302": {"description": "The article."}} | _NOWHERE
    page = {"200": {"description": "The page.", **_PAGE}} | _NOWHERE
    posted = {
        "200": {"description": "Unsubscribed.", **_PAGE},
        "400": {"description": "Not complete.", **_PAGE},
        "503": {"description": "Not stored; try again.", **_PAGE},
    } | _NOWHERE
    post = _operation("post_unsubscribe", "Unsubscribe with one click (RFC 8058).", ["token"], posted)
    return {
        "/o/{token}.gif": {
            "get": _operation("get_pixel", "Record an open and answer a pixel, whatever the token.", ["token"], pixel)
        },
        "/c/{article}/{reader}": {
            "get": _operation(
                "get_click", "Record a click and go on to the signed address.", ["article", "reader"], click
            )
        },
        "/u/{token}": {
            "get": _operation("get_unsubscribe", "Show the page; nothing is changed.", ["token"], page),
            "post": {**post, "requestBody": {"required": True, "content": _FORM}},
        },
    }


def _operation(operation_id: str, summary: str, names: list[str], responses: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": operation_id,
        "summary": summary,
        "parameters": [{"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names],
        "responses": responses,
        "security": [],
        "tags": ["tracking"],
    }


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
