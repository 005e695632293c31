"""Body limits: nothing above the limit is held, and a body that was read is given on whole."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.limits import (
    MAX_JSON_DEPTH,
    BodyTooLargeError,
    ClientGoneError,
    TooDeepError,
    check_depth,
    read_body,
    replayed,
)

pytestmark = pytest.mark.unit


def stream(*parts: bytes, endless: bool = False) -> tuple[Any, list[int]]:
    """A receive that gives the parts, and how many it gave."""
    given = [0]

    async def receive() -> Any:
        place = given[0]
        given[0] += 1
        if endless:
            return {"type": "http.request", "body": parts[0], "more_body": True}
        if place >= len(parts):
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": parts[place], "more_body": place + 1 < len(parts)}

    return receive, given


async def test_a_body_is_joined() -> None:
    """Parts are joined, up to the very limit."""
    receive, _ = stream(b"abc", b"", b"def")
    assert await read_body(receive, {}, max_bytes=6) == b"abcdef"


async def test_an_endless_body_is_cut_off() -> None:
    """A body without a length is refused as soon as it is above the limit, and read no further."""
    receive, given = stream(b"x" * 1_000, endless=True)
    with pytest.raises(BodyTooLargeError):
        await read_body(receive, {}, max_bytes=5_000)
    assert given[0] == 6


@pytest.mark.parametrize("length", [b"5001", b"9" * 30])
async def test_an_announced_length_is_believed(length: bytes) -> None:
    """A body that says it is too large is refused before a byte of it is read."""
    receive, given = stream(b"x")
    with pytest.raises(BodyTooLargeError):
        await read_body(receive, {b"content-length": length}, max_bytes=5_000)
    assert given[0] == 0


async def test_a_client_that_leaves() -> None:
    """A body that breaks off is no body."""
    receive, _ = stream()
    with pytest.raises(ClientGoneError):
        await read_body(receive, {}, max_bytes=10)


async def test_a_body_is_replayed() -> None:
    """What comes behind reads the body once, and then what the client does."""
    receive, _ = stream()
    again = replayed(b"abc", receive)
    assert await again() == {"type": "http.request", "body": b"abc", "more_body": False}
    assert (await again())["type"] == "http.disconnect"


def nested(levels: int, *, inner: bytes = b"1") -> bytes:
    """A JSON list in a list in a list."""
    return b"[" * levels + inner + b"]" * levels


@pytest.mark.parametrize(
    "raw",
    [
        nested(MAX_JSON_DEPTH),
        b"[" + b"[1],{}," * 200_000 + b"1]",
        json.dumps(["[" * 1_000] * 3 + ["a\\" + '"[' * 100 + "\\\\"] * 100).encode(),
        json.dumps([{"a": '"}]{["' * 50}] * 1_000).encode(),
        b"]" * 100 + b"[" * 65,
        b"",
    ],
)
def test_flat_json_passes(raw: bytes) -> None:
    """Any number of brackets passes, in strings or side by side, while no more than 64 are open at a time."""
    check_depth(raw)


@pytest.mark.parametrize(
    "raw",
    [
        nested(MAX_JSON_DEPTH + 1),
        b"[" * 1_000_000,
        b'{"a":' * 100,
        b'["\\\\",' + nested(MAX_JSON_DEPTH) + b"]",
        b'["\\"",' + nested(MAX_JSON_DEPTH) + b"]",
        b"[" + b'"' + b"a" * 65_534 + b'",' + nested(MAX_JSON_DEPTH) + b"]",
        b"[" * 40 + b'"' + b"x" * 70_000 + b'"' + b"[" * 30,
    ],
)
def test_deep_json_is_refused(raw: bytes) -> None:
    """One level too many is refused, wherever strings begin and end, also across the slices that are looked at."""
    with pytest.raises(TooDeepError):
        check_depth(raw)


@given(st.recursive(st.text('"\\[]{}a'), lambda inner: st.lists(inner) | st.dictionaries(st.text('"[{\\'), inner)))
def test_depth_is_that_of_the_decoded(document: Any) -> None:
    """For any JSON the limit is where a walk over the decoded document finds it."""

    def depth(node: Any) -> int:
        below = node.values() if isinstance(node, dict) else node if isinstance(node, list) else None
        return 0 if below is None else 1 + max(map(depth, below), default=0)

    raw = json.dumps(document).encode()
    found = depth(document)
    check_depth(raw, max_depth=found)
    if found:
        with pytest.raises(TooDeepError):
            check_depth(raw, max_depth=found - 1)
