"""The API as a child process: its port, its memory, its metrics, and raw connections to it."""

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import jwt

from publishing.runtime.clock import now_ms
from tests.conftest import JWT_ISSUER, JWT_SECRET
from tests.fakes.streams_worker import StreamWorker, eventually, stream_worker

ANSWER_WAIT_S = 10.0
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]+\r\n[a-z]")


class ApiProcess:
    """A running API; requests to it are bytes, so that they may be wrong."""

    def __init__(self, worker: StreamWorker, port: int) -> None:
        self.worker = worker
        self.pid = worker.process.pid
        self.port = port

    def connect(self, address: str = "127.0.0.1", *, receive_buffer: int = 0) -> socket.socket:
        """Open a blocking connection from a loopback address; its calls end after 10 s."""
        client = socket.socket()
        client.settimeout(ANSWER_WAIT_S)
        if receive_buffer:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.bind((address, 0))
        client.connect(("127.0.0.1", self.port))
        return client

    async def ask(self, request: bytes, *, wait_s: float = ANSWER_WAIT_S, address: str = "127.0.0.1") -> "Answer":
        """Send bytes and read until the server closes, or the time has passed."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port, local_addr=(address, 0))
        received = b""
        is_closed = False
        try:
            async with asyncio.timeout(wait_s):
                writer.write(request)
                while part := await reader.read(65_536):
                    received += part
                is_closed = True
        except TimeoutError:
            pass
        except ConnectionError:
            is_closed = True
        writer.close()
        return Answer(received, is_closed=is_closed)

    async def refused(self, reason: str) -> int:
        """How many connections the edge has ended for this reason."""
        text = (await self.ask(head("GET", "/metrics", "Connection: close"))).received.decode()
        found = re.search(rf'^tidewire_refused_connections_total{{reason="{reason}"}} ([0-9.e+]+)$', text, re.MULTILINE)
        return int(float(found[1])) if found else 0

    def forget_peak(self) -> None:
        """Begin to look for the peak of the memory anew."""
        Path(f"/proc/{self.pid}/clear_refs").write_text("5")

    def peak_bytes(self) -> int:
        """The most memory that was resident since then."""
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert found is not None
        return int(found[1]) * 1024

    def cpu_s(self) -> float:
        """The processor time used so far, seconds."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def descriptors(self) -> int:
        """How many files and sockets are open."""
        return len(list(Path(f"/proc/{self.pid}/fd").iterdir()))


class Answer:
    """What came back on one connection."""

    def __init__(self, received: bytes, *, is_closed: bool) -> None:
        self.received = received
        self.is_closed = is_closed
        self.statuses = [int(status) for status in _STATUS.findall(received)]


def head(method: str, path: str, *headers: str) -> bytes:
    """A sound head of a request."""
    return "\r\n".join((f"{method} {path} HTTP/1.1", "Host: api", *headers, "", "")).encode()


def bearer(role: str = "admin") -> str:
    """The header of a role, for ten minutes."""
    now_s = now_ms() // 1_000
    claims = {"sub": "tests", "role": role, "iss": JWT_ISSUER, "aud": "tidewire", "iat": now_s, "exp": now_s + 600}
    return f"Authorization: Bearer {jwt.encode(claims, JWT_SECRET, algorithm='HS256')}"


@asynccontextmanager
async def api_process(
    arguments: Sequence[str], variables: Mapping[str, str], **settings: str
) -> AsyncIterator[ApiProcess]:
    """Run `python <arguments>` with more TIDEWIRE_* settings until the caller is done, from its first answer on."""
    async with stream_worker(arguments, variables, **settings) as worker:
        port = json.loads(await worker.wrote('"api.listening"'))["port"]
        running = ApiProcess(worker, port)

        async def answers() -> bool:
            with contextlib.suppress(OSError):
                return (await running.ask(head("GET", "/livez", "Connection: close"), wait_s=5)).statuses == [200]
            return False

        await eventually(answers, what="the API answers")
        yield running
