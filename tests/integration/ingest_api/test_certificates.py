"""What is fetched from Amazon, over a TLS server of the tests' own: only what is asked for, and only from whom."""

import asyncio
import contextlib
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from ingest_api.hooks.certificates import MAX_ANSWER_BYTES, FetchError, HttpsCertificates
from publishing.runtime.clock import utc_now
from tests.fakes.amazon import rsa_key

pytestmark = pytest.mark.integration

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nPEM!"
MOVED = b"HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (MAX_ANSWER_BYTES + 1) + b"x" * (MAX_ANSWER_BYTES + 1)
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1000\r\n" + b"x" * 4_096 + b"\r\n"


class Server:
    """Answers every request with the same bytes, and keeps the request lines."""

    def __init__(self, answer: bytes) -> None:
        """Keep the answer."""
        self.answer = answer
        self.asked: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, and leave it open when the answer has no end."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")[0])
            writer.write(self.answer)
            await writer.drain()
            await reader.read()
        writer.close()


@pytest.fixture(scope="module")
def own_authority(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ssl.SSLContext]:
    """A certificate for 127.0.0.1 that signs itself, as a file, and the server's side of it."""
    key = rsa_key("server")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = utc_now()
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + built.public_bytes(serialization.Encoding.PEM))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(path)
    return path, context


@contextlib.asynccontextmanager
async def served(answer: bytes, context: ssl.SSLContext) -> AsyncIterator[tuple[Server, str]]:
    """A server of one answer, and an address at it."""
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    try:
        yield server, f"https://127.0.0.1:{port}/cert.pem"
    finally:
        listening.close()


def trusting(path: Path, wait_s: float = 5.0) -> HttpsCertificates:
    """What fetches, trusting the tests' own authority."""
    return HttpsCertificates(ssl.create_default_context(cafile=path), wait_s=wait_s)


async def test_a_fetch(own_authority: tuple[Path, ssl.SSLContext], monkeypatch: pytest.MonkeyPatch) -> None:
    """The body of a 200 is returned; a proxy that the environment names is not asked."""
    path, context = own_authority
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    async with served(OK, context) as (server, url):
        assert await trusting(path).fetch(url) == b"PEM!"
        assert server.asked == [b"GET /cert.pem HTTP/1.1"]


async def test_an_authority_that_is_not_trusted(own_authority: tuple[Path, ssl.SSLContext]) -> None:
    """A server whose certificate the system's authorities do not vouch for is asked nothing."""
    async with served(OK, own_authority[1]) as (server, url):
        with pytest.raises(FetchError):
            await HttpsCertificates().fetch(url)
        assert server.asked == []


@pytest.mark.parametrize(
    "answer", [MOVED, HUGE, b"HTTP/1.1 404 Gone\r\nContent-Length: 0\r\n\r\n", b"nonsense\r\n\r\n"]
)
async def test_what_is_no_answer(own_authority: tuple[Path, ssl.SSLContext], answer: bytes) -> None:
    """A redirect is not followed, more than 64 KiB is not read, and anything but a 200 is no answer."""
    path, context = own_authority
    async with served(answer, context) as (server, url):
        with pytest.raises(FetchError):
            await trusting(path).fetch(url)
        assert len(server.asked) == 1


@pytest.mark.parametrize("answer", [b"", ENDLESS])
async def test_an_answer_that_does_not_end(own_authority: tuple[Path, ssl.SSLContext], answer: bytes) -> None:
    """What does not end in time is given up."""
    path, context = own_authority
    async with served(answer, context) as (_, url), asyncio.timeout(5):
        with pytest.raises(FetchError):
            await trusting(path, wait_s=0.3).fetch(url)


@pytest.mark.parametrize("url", ["https://127.0.0.1:1/", "http://", "x"])
async def test_nobody_there(url: str) -> None:
    """An address at which nobody answers, or that is none, raises the one error."""
    with pytest.raises(FetchError):
        await HttpsCertificates(wait_s=2).fetch(url)
