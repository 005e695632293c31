"""S2: bodies and heads that are too large are refused at their cap, and memory grows by twice the cap at the most.

Fault: a gigabyte by length, in chunks, in a gzip bomb, in trailers and in chunk extensions; 100 MB in one header, in
many and in the path. Proof of the hit: the client counts what it got rid of, and reads the refusal. Mutant: uvicorn's
protocol and no cap of a body, under which the same checks go red with a fraction of the flood.
"""

import asyncio
import contextlib
import gzip
from collections.abc import Callable, Iterator

import pytest

from ingest_api.limits import MAX_JSON_BYTES, MAX_LINES_BYTES
from tests.fakes.api_process import Answer, ApiProcess, bearer, head

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("edge")]

SUBSCRIBERS = "/api/v1/publishing/subscribers"
GIGABYTE = 1_000_000_000
HEAD_FLOOD = 100_000_000
# What the mutants are given: enough to break the bound, and soon over.
SOME_BODY = 2_304 * 65_536
SOME_HEAD = 48_000_000
GROWTH_BYTES = 2 * MAX_LINES_BYTES
PART = b"a" * 65_536
# A hundred megabytes of zeros, packed twice.
BOMB = gzip.compress(gzip.compress(bytes(100_000_000)))
SENT_WAIT_S = 20.0


def repeated(part: bytes, total: int, *, opening: bytes) -> Iterator[bytes]:
    """The opening, and then the part until so many bytes are made."""
    yield opening
    for _ in range(total // len(part)):
        yield part


def chunk(part: bytes) -> bytes:
    """A part as a chunk of its own."""
    return b"%x\r\n%s\r\n" % (len(part), part)


async def flood(api: ApiProcess, parts: Iterator[bytes]) -> tuple[Answer, int]:
    """Send parts until the server has had enough; returns its answer, and how many bytes it let go out."""
    reader, writer = await asyncio.open_connection("127.0.0.1", api.port, local_addr=("127.0.4.1", 0))
    reading = asyncio.create_task(_read(reader))
    sent = 0
    try:
        async with asyncio.timeout(SENT_WAIT_S):
            for part in parts:
                if reading.done():
                    break
                writer.write(part)
                sent += len(part)
                await writer.drain()
                # drain() alone does not yield while the server keeps up: who never reads cannot read a refusal.
                await asyncio.sleep(0)
            received = await reading
    except ConnectionError:
        received = await reading
    finally:
        reading.cancel()
        writer.transport.abort()
    return Answer(received, is_closed=True), sent


async def _read(reader: asyncio.StreamReader) -> bytes:
    received = b""
    with contextlib.suppress(ConnectionError):
        while part := await reader.read(65_536):
            received += part
    return received


async def check_flood(api: ApiProcess, parts: Iterator[bytes], *, status: int) -> None:
    """The flood ends in this status, long before it is over, and the memory has hardly grown."""
    api.forget_peak()
    before = api.peak_bytes()
    answer, sent = await flood(api, parts)
    growth = api.peak_bytes() - before
    print(f"{status}: sent {sent / 1e6:.1f} MB, grown by {growth / 1e6:.1f} MB")  # noqa: T201  - the figure
    assert growth <= GROWTH_BYTES, growth
    assert answer.statuses == [status], answer.received[:200]
    # The cap, what is thrown away while the client is heard out, and what the buffers of both sides hold.
    assert sent <= 3 * MAX_LINES_BYTES


def post(*headers: str, path: str = SUBSCRIBERS) -> bytes:
    """The head of a write by somebody who may write."""
    return head("POST", path, bearer(), "Connection: close", *headers)


CHUNKED = "Transfer-Encoding: chunked"
FLOODS: dict[str, tuple[int, Callable[[], Iterator[bytes]]]] = {
    "by length": (413, lambda: repeated(PART, GIGABYTE, opening=post(f"Content-Length: {GIGABYTE}"))),
    "by a length that only the route refuses": (
        413,
        lambda: repeated(PART, MAX_JSON_BYTES * 2, opening=post(f"Content-Length: {MAX_JSON_BYTES * 2}")),
    ),
    "in chunks": (413, lambda: repeated(chunk(PART), GIGABYTE, opening=post(CHUNKED))),
    "in chunks of lines": (
        413,
        lambda: repeated(chunk(PART), GIGABYTE, opening=post(CHUNKED, path=f"{SUBSCRIBERS}/bulk")),
    ),
    "in chunks of one byte": (413, lambda: repeated(chunk(b"a") * 10_000, GIGABYTE, opening=post(CHUNKED))),
    "in chunks that nobody reads": (
        413,
        lambda: repeated(chunk(PART), GIGABYTE, opening=head("POST", "/u/none", CHUNKED)),
    ),
    "by a gzip bomb": (
        415,
        lambda: iter([post("Content-Encoding: gzip", f"Content-Length: {len(BOMB)}"), BOMB]),
    ),
    "by a gzip bomb to the front": (
        415,
        lambda: iter([head("POST", "/u/none", "Content-Encoding: gzip", f"Content-Length: {len(BOMB)}"), BOMB]),
    ),
    "in a trailer": (
        431,
        lambda: repeated(PART, GIGABYTE, opening=post(CHUNKED) + chunk(b"{}") + b"0\r\nX: "),
    ),
    "in an extension of a chunk": (431, lambda: repeated(PART, GIGABYTE, opening=post(CHUNKED) + b"2;a=")),
    "in one header": (431, lambda: repeated(PART, HEAD_FLOOD, opening=b"GET / HTTP/1.1\r\nHost: a\r\nX: ")),
    "in many headers": (
        431,
        lambda: repeated(b"X: a\r\n" * 10_000, HEAD_FLOOD, opening=b"GET / HTTP/1.1\r\nHost: a\r\n"),
    ),
    "in the path": (431, lambda: repeated(PART, HEAD_FLOOD, opening=b"GET /")),
    "in empty lines": (431, lambda: repeated(b"\r\n" * 30_000, HEAD_FLOOD, opening=b"\r\n")),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_are_refused_at_the_cap(api: ApiProcess, name: str) -> None:
    """Every flood is answered with its problem after the cap; the process does not grow with what is sent."""
    status, parts = FLOODS[name]
    if name == "in chunks that nobody reads":
        api.forget_peak()
        before = api.peak_bytes()
        answer, sent = await flood(api, parts())
        assert answer.statuses == [404]
        assert sent <= 3 * MAX_LINES_BYTES
        assert api.peak_bytes() - before <= GROWTH_BYTES
        return
    await check_flood(api, parts(), status=status)


async def test_a_hundred_headers_are_enough(api: ApiProcess) -> None:
    """The number of headers has a cap of its own, and a head of just the size that is allowed passes."""
    many = await api.ask(head("GET", "/livez", *(f"X-{number}: a" for number in range(100))))
    assert many.statuses == [431]
    longest = await api.ask(head("GET", "/livez", "Connection: close", "X: " + "a" * 16_200))
    assert longest.statuses == [200]
    longer = await api.ask(head("GET", "/livez", "Connection: close", "X: " + "a" * 16_400))
    assert longer.statuses == [431]


async def test_the_mutant_grows(uncapped: ApiProcess) -> None:
    """Without the caps the same check goes red: the process takes what it is sent."""
    length = f"Content-Length: {SOME_BODY}"
    with pytest.raises(AssertionError):
        await check_flood(uncapped, repeated(PART, SOME_BODY, opening=post(length)), status=413)
    assert uncapped.peak_bytes() > SOME_BODY


async def test_the_mutant_takes_a_head_of_any_size(stock: ApiProcess) -> None:
    """Under uvicorn's own protocol the same check goes red for a header: the parser holds all of it."""
    parts = repeated(PART, SOME_HEAD, opening=b"GET / HTTP/1.1\r\nHost: a\r\nX: ")
    with pytest.raises(AssertionError):
        await check_flood(stock, iter([*parts, b"\r\nConnection: close\r\n\r\n"]), status=431)
    assert stock.peak_bytes() > SOME_HEAD
