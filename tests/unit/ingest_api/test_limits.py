"""Body limits: nothing above the limit is held, and a body that was read is given on whole."""

from typing import Any

import pytest

from ingest_api.limits import BodyTooLargeError, ClientGoneError, read_body, replayed

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
