"""S18: malformed HTTP is answered with 400 and the connection is closed.

Fault: requests that two parties could read differently, one connection each, byte for byte. Proof of the hit: the
refusals are counted by the process as malformed. Mutant: uvicorn's own protocol, which answers some of them.
"""

import asyncio

import pytest

from tests.fakes.api_process import Answer, ApiProcess, bearer, head

pytestmark = [pytest.mark.faults, pytest.mark.asyncio(loop_scope="session"), pytest.mark.xdist_group("edge")]

HOST = b"Host: a\r\n"
GET = b"GET /livez HTTP/1.1\r\n" + HOST
POST = b"POST /livez HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
# What an accepted message would leave behind as a second request.
SMUGGLED = b"GET /livez HTTP/1.1\r\nHost: b\r\n\r\n"

MALFORMED = {
    "length and coding": POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding and length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n0\r\n\r\n",
    "length twice, the same": POST + b"Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
    "length twice": POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "length as a list": POST + b"Content-Length: 3, 3\r\n\r\nabc",
    "length with a sign": POST + b"Content-Length: +3\r\n\r\nabc",
    "length below zero": POST + b"Content-Length: -3\r\n\r\nabc",
    "length in hexadecimal": POST + b"Content-Length: 0x3\r\n\r\nabc",
    "length with a gap": POST + b"Content-Length: 3 3\r\n\r\nabc",
    "length empty": POST + b"Content-Length: \r\n\r\nabc",
    "length overflows": POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc",
    "fold": GET + b"X: a\r\n b\r\n\r\n",
    "fold by a tab": GET + b"X: a\r\n\tb\r\n\r\n",
    "fold of the first header": b"GET /livez HTTP/1.1\r\n X: a\r\n" + HOST + b"\r\n",
    "fold of a coding": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "bare LF": b"GET /livez HTTP/1.1\nHost: a\n\n",
    "bare LF in the headers": b"GET /livez HTTP/1.1\r\nHost: a\nX: b\r\n\r\n",
    "bare LF at the end": GET + b"\n",
    "bare CR": b"GET /livez HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
    "NUL in a value": GET + b"X: a\0b\r\n\r\n",
    "NUL in a name": GET + b"X\0: ab\r\n\r\n",
    "NUL in the path": b"GET /livez\0 HTTP/1.1\r\n" + HOST + b"\r\n",
    "control in a value": GET + b"X: a\x01b\r\n\r\n",
    "space before the colon": GET + b"X : a\r\n\r\n",
    "space before the colon of a coding": POST + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "no colon": GET + b"Xab\r\n\r\n",
    "no name": GET + b": a\r\n\r\n",
    "unknown method": b"FOO /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "method in lower case": b"get /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "space in the path": b"GET /livez a HTTP/1.1\r\n" + HOST + b"\r\n",
    "tabs for spaces": b"GET\t/livez\tHTTP/1.1\r\n" + HOST + b"\r\n",
    "space after the version": b"GET /livez HTTP/1.1 \r\n" + HOST + b"\r\n",
    "path without a slash": b"GET livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "path of eight bits": b"GET /\xc3\xa4 HTTP/1.1\r\n" + HOST + b"\r\n",
    "version 1.2": b"GET /livez HTTP/1.2\r\n" + HOST + b"\r\n",
    "version 11.1": b"GET /livez HTTP/11.1\r\n" + HOST + b"\r\n",
    "HTTP/2 by prior knowledge": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a TLS hello": bytes.fromhex("160301020001"),
    "unknown coding": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "chunked is not last": POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
    "chunked twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "coding identity": POST + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
    "coding quoted": POST + b'Transfer-Encoding: "chunked"\r\n\r\n0\r\n\r\n',
    "coding after a vertical tab": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "chunk size with a prefix": CHUNKED + b"0x3\r\nabc\r\n0\r\n\r\n",
    "chunk size below zero": CHUNKED + b"-3\r\nabc\r\n0\r\n\r\n",
    "chunk size overflows": CHUNKED + b"f" * 18 + b"\r\nabc\r\n0\r\n\r\n",
    "chunk size and a space": CHUNKED + b"3 \r\nabc\r\n0\r\n\r\n",
    "chunk size empty": CHUNKED + b"\r\nabc\r\n0\r\n\r\n",
    "chunk longer than its size": CHUNKED + b"3\r\nabcde\r\n0\r\n\r\n",
    "chunks by bare LF": CHUNKED + b"3\nabc\n0\n\n",
    "extension by bare LF": CHUNKED + b"3;a\nabc\r\n0\r\n\r\n",
    "length in a trailer": CHUNKED + b"3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n",
}
# The parser lets these pass: they are refused by the protocol alone, and the mutant answers them.
LENIENT = {
    "no host": b"GET /livez HTTP/1.1\r\n\r\n",
    "two hosts": GET + HOST + b"\r\n",
    "HTTP/0.9": b"GET /livez\r\n\r\n",
    "HTTP/0.9 with headers": b"GET /livez HTTP/0.9\r\n" + HOST + b"\r\n",
    "version 2.0": b"GET /livez HTTP/2.0\r\n" + HOST + b"\r\n",
    "another protocol": b"OPTIONS /livez RTSP/1.0\r\n" + HOST + HOST + b"\r\n",
    "method of another service": b"PURGE /livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "a tunnel": b"CONNECT a:1 HTTP/1.1\r\n" + HOST + b"\r\n" + SMUGGLED,
    "coding in HTTP/1.0": b"POST /livez HTTP/1.0\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two codings": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "two codings in two lines": POST
    + b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "a body after an upgrade": POST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 33\r\n\r\n" + SMUGGLED,
}
SOUND = {
    "plain": GET + b"\r\n",
    "HTTP/1.0": b"GET /livez HTTP/1.0\r\n\r\n",
    "empty lines first": b"\r\n\r\n" + GET + b"\r\n",
    "absolute form": b"GET http://a/livez HTTP/1.1\r\n" + HOST + b"\r\n",
    "chunks with an extension and a trailer": CHUNKED + b"3;a=b\r\nabc\r\n0\r\nX: y\r\n\r\n",
    "eight bits in a value": GET + b"X: \xe4\r\n\r\n",
    "a body of a GET": GET + b"Content-Length: 3\r\n\r\nabc",
    "an upgrade that is not taken": GET + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
}


def check_refusal(answer: Answer) -> None:
    """One problem of 400, and the end of the connection."""
    assert answer.statuses == [400]
    assert b"application/problem+json" in answer.received
    assert answer.is_closed


async def test_malformed_http_is_refused(api: ApiProcess) -> None:
    """Every malformed request gets one problem of 400 and a closed connection; no part of it is a second request."""
    corpus = MALFORMED | LENIENT
    before = await api.refused("malformed")
    answers = await asyncio.gather(*(api.ask(request + SMUGGLED) for request in corpus.values()))
    for answer in answers:
        check_refusal(answer)
    assert await api.refused("malformed") - before == len(corpus)


async def test_sound_http_is_answered(api: ApiProcess) -> None:
    """What is unusual but sound is answered, so that the guard is not merely deaf."""
    for name, request in SOUND.items():
        answer = await api.ask(request, wait_s=0.3)
        assert [status in {200, 405} for status in answer.statuses] == [True], name


async def test_a_fault_behind_sound_requests(api: ApiProcess) -> None:
    """Requests that were complete before the fault are answered in turn, the fault is not, and all is closed."""
    answer = await api.ask(GET + b"\r\n" + GET + b"\r\n" + b"nonsense\r\n\r\n" + SMUGGLED)
    assert answer.statuses == [200, 200]
    assert answer.is_closed
    flood = await api.ask((GET + b"\r\n") * 1_000)
    assert set(flood.statuses) == {200}
    assert len(flood.statuses) <= 20
    assert flood.is_closed


async def test_a_trailer_is_no_header(api: ApiProcess) -> None:
    """A token in a trailer opens no route: a trailer does not reach the application."""
    asked = head("POST", "/api/v1/publishing/subscribers", "Transfer-Encoding: chunked")
    answer = await api.ask(asked + b"2\r\n{}\r\n0\r\n" + bearer().encode() + b"\r\n\r\n")
    assert answer.statuses == [401]


async def test_the_mutant_is_lenient(stock: ApiProcess) -> None:
    """Uvicorn's own protocol answers each request that the parser lets pass, so the check above goes red."""
    for name, request in LENIENT.items():
        answer = await stock.ask(request, wait_s=0.3)
        with pytest.raises(AssertionError):
            check_refusal(answer)
        assert answer.statuses, name
