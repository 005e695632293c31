"""Owns how routes describe their bodies and answers in the OpenAPI document."""

from typing import Any

from ingest_api.problems import MEDIA_TYPE, Problem

PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem document (RFC 9457).",
        "content": {MEDIA_TYPE: {"schema": {"$ref": f"#/components/schemas/{Problem.__name__}"}}},
    }
}


def reference(name: str) -> dict[str, Any]:
    """Refer to a schema of the document by its name."""
    return {"$ref": f"#/components/schemas/{name}"}


def answers(name: str, description: str) -> dict[str, Any]:
    """Describe an answer in JSON."""
    return {"description": description, "content": {"application/json": {"schema": reference(name)}}}


def takes(*schemas: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """Describe a body by its media types and their schemas."""
    content = {media_type: {"schema": schema} for media_type, schema in schemas}
    return {"requestBody": {"required": True, "content": content}}


def takes_json(name: str) -> dict[str, Any]:
    """Describe a body in JSON."""
    return takes(("application/json", reference(name)))
