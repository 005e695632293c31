"""Every error is a problem document that repeats nothing (RFC 9457), whatever is wrong."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ingest_api.auth import PREFIX
from ingest_api.limits import MAX_JSON_BYTES, MAX_LINES_BYTES

pytestmark = pytest.mark.contract


def assert_problem(answer: Any, status: int) -> Any:
    """The answer is a problem of the status; returns it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["x-request-id"]
    found = answer.json()
    assert set(found) == {"type", "title", "status", "detail", "errors"}
    assert found["status"] == status
    assert "canary" not in answer.text
    assert "Traceback" not in answer.text
    return found


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/canary", 404),
        ("GET", f"{PREFIX}/canary", 404),
        ("DELETE", "/livez", 405),
        ("PUT", f"{PREFIX}/subscribers", 405),
        ("GET", f"{PREFIX}/subscribers/canary", 422),
        ("GET", f"{PREFIX}/channels/{2**31}", 422),
        ("GET", f"{PREFIX}/subscribers?limit=0", 422),
        ("GET", f"{PREFIX}/subscribers?limit=201", 422),
        ("GET", f"{PREFIX}/analytics/engagement?grain=canary", 422),
        ("GET", f"{PREFIX}/subscribers/1", 503),
        ("GET", f"{PREFIX}/publications/1", 503),
        ("GET", f"{PREFIX}/feeds/1.rss", 503),
        ("GET", "/fails", 500),
    ],
)
async def test_errors_are_problems(stranded: Any, method: str, path: str, status: int) -> None:
    """Unknown addresses, methods, parameters, services that are away and faults of ours are problems."""
    answer = await stranded.client.request(method, path, headers=stranded.bearer())
    found = assert_problem(answer, status)
    assert bool(found["errors"]) is (status == 422)
    assert ("retry-after" in answer.headers) is (status == 503)


@pytest.mark.parametrize("path", ["/subscribers", "/channels", "/publications", "/content", "/subscribers/bulk"])
@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer canary"}])
async def test_no_write_without_a_token(stranded: Any, path: str, headers: dict[str, str]) -> None:
    """Without a valid token a body is not even read: an endless one is refused at once."""

    async def endless() -> Any:
        while True:
            yield b"x" * 65_536

    answer = await stranded.client.post(f"{PREFIX}{path}", content=endless(), headers=headers)
    assert_problem(answer, 401)


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("reader", "/subscribers", 403),
        ("reader", "/content", 403),
        ("editor", "/channels", 403),
        ("approver", "/channels/1/test", 403),
        ("editor", "/subscribers", 503),
        ("admin", "/channels/1/test", 503),
    ],
)
async def test_roles(stranded: Any, role: str, path: str, status: int) -> None:
    """A role that is not enough answers 403 before anything else is looked at."""
    body = {"external_id": "canary"}
    answer = await stranded.client.post(f"{PREFIX}{path}", json=body, headers=stranded.bearer(role))
    assert_problem(answer, status)


@pytest.mark.parametrize(
    ("path", "max_bytes"),
    [("/subscribers", MAX_JSON_BYTES), ("/channels", MAX_JSON_BYTES), ("/subscribers/bulk", MAX_LINES_BYTES)],
)
async def test_bodies_are_capped(stranded: Any, path: str, max_bytes: int) -> None:
    """A body above its limit answers 413 once the limit is passed, by length or by counting, and is read no further."""
    given = 0

    async def endless() -> Any:
        nonlocal given
        while True:
            given += 65_536
            yield b" " * 65_536

    answer = await stranded.client.post(f"{PREFIX}{path}", content=endless(), headers=stranded.bearer())
    assert_problem(answer, 413)
    assert given <= max_bytes + 3 * 65_536
    headers = stranded.bearer() | {"Content-Length": str(max_bytes + 1)}
    assert_problem(await stranded.client.post(f"{PREFIX}{path}", content=b"x", headers=headers), 413)


async def test_no_compressed_body(stranded: Any) -> None:
    """A compressed body answers 415: nothing is ever inflated."""
    headers = stranded.bearer() | {"Content-Encoding": "gzip"}
    assert_problem(await stranded.client.post(f"{PREFIX}/subscribers", content=b"x", headers=headers), 415)


@pytest.mark.parametrize("body", [b"", b"canary", b"{", b"[1]", b'{"canary@example.org": 1}', b"\xff"])
@pytest.mark.parametrize("path", ["/subscribers", "/channels", "/publications", "/content"])
async def test_bad_bodies(stranded: Any, path: str, body: bytes) -> None:
    """A body that cannot be read answers 422 with errors; a list of content has a result an item instead."""
    answer = await stranded.client.post(f"{PREFIX}{path}", content=body, headers=stranded.bearer())
    if path == "/content" and body == b"[1]":
        assert answer.status_code == 202
        assert (answer.json()["accepted"], answer.json()["refused"]) == (0, 1)
    else:
        assert assert_problem(answer, 422)["errors"]


async def test_request_ids(stranded: Any) -> None:
    """A plain request id comes back; one that could split a line does not; without one the trace's id is given."""
    named = await stranded.client.get("/livez", headers={"X-Request-Id": "abc-1"})
    assert named.headers["x-request-id"] == "abc-1"
    forged = await stranded.client.get("/livez", headers={"X-Request-Id": "a b"})
    assert len(forged.headers["x-request-id"]) == 32
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    traced = await stranded.client.get("/livez", headers={"traceparent": trace})
    assert traced.headers["x-request-id"] == "0af7651916cd43dd8448eb211c80319c"


async def test_health_without_services(stranded: Any) -> None:
    """Without services the process lives, is not ready, and says which ones are away."""
    assert (await stranded.client.get("/livez")).status_code == 200
    health = await stranded.client.get("/health")
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert set(health.json()["services"]) == {"database", "broker", "cache"}
    assert (await stranded.client.get("/readyz")).status_code == 503
    metrics = await stranded.client.get("/metrics")
    assert 'tidewire_http_requests_total{method="GET",route="/livez",status="200"}' in metrics.text


def operations() -> Iterator[tuple[str, str]]:
    """Every operation of the management API."""
    from ingest_api.openapi import document

    for path, found in document()["paths"].items():
        for method in found:
            if path.startswith(PREFIX) and "/feeds/" not in path:
                yield method.upper(), path


@pytest.mark.parametrize(("method", "path"), list(operations()))
async def test_every_route_asks_for_a_token(stranded: Any, method: str, path: str) -> None:
    """No route of the management API answers without a token."""
    for name in ("subscriber_id", "channel_id", "publication_id", "run_id"):
        path = path.replace(f"{{{name}}}", "1")
    assert_problem(await stranded.client.request(method, path), 401)


def test_the_description_has_not_drifted() -> None:
    """docs/generated/openapi.json is what the routes say, and valid OpenAPI 3.1."""
    import openapi_spec_validator

    from ingest_api.openapi import main, text

    assert main(["--check"]) == 0
    openapi_spec_validator.validate(json.loads(text()))
