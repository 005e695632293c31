"""Owns the tracked links: a raw ASGI front that answers /o, /c, /u and /e before any framework."""

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ingest_api import pages
from ingest_api.beacon import BEACON_PATH, Beacon
from ingest_api.collector import Hit
from ingest_api.direct import DirectLinks, reply_of
from ingest_api.judging import Judge, hit_of
from ingest_api.limits import BodyTooLargeError, ClientGoneError, read_body
from ingest_api.resources import Resources
from ingest_api.suppressing import suppress_at_once
from publishing.domain.keys import KeyRing
from publishing.domain.links import ArticleLink, LinkError, Purpose, ReaderLink, verify_article, verify_reader
from publishing.domain.verdicts import Visitor
from publishing.runtime import metrics
from publishing.runtime.clock import now_ms
from publishing.runtime.correlation import accept_traceparent
from publishing.runtime.logs import get_logger
from publishing.stores.suppressions import Suppression
from schemas.messages import EngagementKind

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Asgi = Callable[[Any, Any, Any], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

# A transparent GIF of one pixel: 43 bytes, the smallest that every mail client draws.
PIXEL: Final = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
_PIXEL_HEADERS: Final[Headers] = (
    (b"content-type", b"image/gif"),
    (b"cache-control", b"no-store, no-cache, must-revalidate, private, max-age=0"),
    (b"x-content-type-options", b"nosniff"),
)
_PAGE_HEADERS: Final[Headers] = ((b"content-type", b"text/html; charset=utf-8"), *pages.SECURITY_HEADERS)
_REDIRECT_HEADERS: Final[Headers] = (
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-robots-tag", b"noindex, nofollow"),
)
_PIXEL_START: Final = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-length", b"%d" % len(PIXEL)), *_PIXEL_HEADERS],
}
_PIXEL_BODY: Final = {"type": "http.response.body", "body": PIXEL}
# A form of one field; RFC 8058 section 3.1 allows multipart/form-data, which is longer.
MAX_FORM_BYTES = 8_192
_ONE_CLICK = re.compile(
    rb"(?:^|&)List-Unsubscribe=One-Click(?:&|\r?\n|$)|"
    rb"name=\"?List-Unsubscribe\"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n){0,8}\r?\nOne-Click\r?\n",
    re.IGNORECASE,
)
_PREFIXES: Final = frozenset({"/o/", "/c/", "/u/"})
# The article part of a click is the same for all readers of a run; what does not verify is not remembered.
MAX_TARGETS: Final = 4_096
_RECORDED: Final = {
    (kind, is_durable): metrics.HITS.labels(kind.value, outcome)
    for kind in (EngagementKind.OPENED, EngagementKind.CLICKED, EngagementKind.UNSUBSCRIBED)
    for is_durable, outcome in ((True, "counted"), (False, "dropped"))
}
_UNESCAPED: Final = frozenset(range(0x21, 0x7F))

log = get_logger(__name__)


class Front:
    """Answers tracked links itself and passes everything else on."""

    def __init__(self, rest: Asgi, resources: Resources) -> None:
        """Keep what comes behind; raises SettingsError for a networks file that cannot be read."""
        self._rest = rest
        self._resources = resources
        self._judge = Judge(resources.settings)
        self._target = functools.lru_cache(MAX_TARGETS)(functools.partial(_target_of, resources.tracking))
        self._beacon = Beacon(resources, self._judge)
        # Opens and clicks that are sound need no task; what is taken there is not seen here.
        self.direct = DirectLinks(
            resources.collector,
            resources.tracking,
            self._judge,
            pixel=reply_of(200, _PIXEL_HEADERS, PIXEL),
            target=self._target,
        )

    async def end_streams(self) -> None:
        """End every event stream, which would never end by itself; a stopping server calls it first."""
        await self._resources.live.close()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or not (path[:3] in _PREFIXES or path == BEACON_PATH):
            await self._rest(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if b"traceparent" in headers:  # otherwise the frame that the hit goes into begins a trace
            accept_traceparent(headers[b"traceparent"].decode("latin-1"))
        try:
            if path == BEACON_PATH:
                await self._beacon(scope, headers, receive, send)
            else:
                await self._link(path, scope, headers, receive, send)
        except ClientGoneError:
            log.info("link.client_gone")

    async def _link(self, path: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Answer one link."""
        method: str = scope["method"]
        if method not in {"GET", "HEAD"} and not (path[1] == "u" and method == "POST"):
            await _answer(send, method, 405, ((b"allow", b"GET, HEAD"), *_PAGE_HEADERS), pages.NOT_FOUND)
        elif path[1] == "u":
            await self._leave(path, scope, headers, receive, send)
        elif path[1] == "o":
            await self._pixel(path, scope, headers, send)
        else:
            await self._click(path, scope, headers, send)

    async def _pixel(self, path: str, scope: Scope, headers: dict[bytes, bytes], send: Send) -> None:
        reader = self._reader(Purpose.OPEN, path[3:-4]) if path.endswith(".gif") else None
        if reader is None:
            metrics.HITS.labels("opened", "invalid").inc()
        else:
            await self._count(EngagementKind.OPENED, scope, headers, reader)
        if scope["method"] == "GET":
            await send(_PIXEL_START)
            await send(_PIXEL_BODY)
        else:
            await _answer(send, scope["method"], 200, _PIXEL_HEADERS, PIXEL)

    async def _click(self, path: str, scope: Scope, headers: dict[bytes, bytes], send: Send) -> None:
        article_part, _, reader_part = path[3:].partition("/")
        reader = self._reader(Purpose.CLICK, reader_part)
        try:
            article, answer_headers = self._target(article_part)
        except LinkError:
            article = None
        if article is None or reader is None or article.run_id != reader.run_id:
            metrics.HITS.labels("clicked", "invalid").inc()
            await _answer(send, scope["method"], 404, _PAGE_HEADERS, pages.NOT_FOUND)
            return
        await self._count(EngagementKind.CLICKED, scope, headers, reader, article)
        await _answer(send, scope["method"], 302, answer_headers, b"")

    async def _leave(self, path: str, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        """Show the page to unsubscribe, or unsubscribe: only POST acts (RFC 8058 section 3.2)."""
        method: str = scope["method"]
        reader = self._reader(Purpose.UNSUBSCRIBE, path[3:])
        if reader is None:
            if method == "POST":
                metrics.HITS.labels("unsubscribed", "invalid").inc()
            await _answer(send, method, 404, _PAGE_HEADERS, pages.NOT_FOUND)
        elif method == "POST":
            await self._unsubscribe(reader, scope, headers, receive, send)
        else:
            if method == "GET":
                self._judge.look(reader, now_ms())
            await _answer(send, method, 200, _PAGE_HEADERS, pages.UNSUBSCRIBE)

    async def _unsubscribe(
        self, reader: ReaderLink, scope: Scope, headers: dict[bytes, bytes], receive: Receive, send: Send
    ) -> None:
        try:
            body = await read_body(receive, headers, max_bytes=MAX_FORM_BYTES)
        except BodyTooLargeError:
            await _answer(send, "POST", 413, _PAGE_HEADERS, pages.INCOMPLETE)
            return
        if not _ONE_CLICK.search(body):
            await _answer(send, "POST", 400, _PAGE_HEADERS, pages.INCOMPLETE)
            return
        at_ms = now_ms()
        judgement = self._judge.leaving(self._visitor(scope, headers), reader, at_ms)
        hit = hit_of(EngagementKind.UNSUBSCRIBED, at_ms, reader, (reader.destination, judgement))
        _, is_durable = await asyncio.gather(
            suppress_at_once(self._resources, [_suppression(reader)]), self._record(hit)
        )
        if is_durable:
            await _answer(send, "POST", 200, _PAGE_HEADERS, pages.UNSUBSCRIBED)
        else:
            await _answer(send, "POST", 503, ((b"retry-after", b"5"), *_PAGE_HEADERS), pages.TRY_AGAIN)

    def _reader(self, purpose: Purpose, token: str) -> ReaderLink | None:
        try:
            return verify_reader(self._resources.tracking, purpose, token)
        except LinkError:
            return None

    def _visitor(self, scope: Scope, headers: dict[bytes, bytes]) -> Visitor:
        client = scope.get("client")
        return self._judge.visitor(headers, client[0] if client else "")

    async def _count(
        self,
        kind: EngagementKind,
        scope: Scope,
        headers: dict[bytes, bytes],
        reader: ReaderLink,
        article: ArticleLink | None = None,
    ) -> None:
        """Record an open or a click; a HEAD is none, and under the policy `off` there is none."""
        if scope["method"] == "HEAD" or not self._judge.is_counted(reader):
            metrics.HITS.labels(kind.value, "ignored").inc()
            return
        at_ms = now_ms()
        judged = self._judge.hit(self._visitor(scope, headers), reader, article, at_ms)
        await self._record(hit_of(kind, at_ms, reader, judged, article))

    async def _record(self, hit: Hit) -> bool:
        is_durable = await self._resources.collector.record(hit)
        _RECORDED[hit.kind, is_durable].inc()
        return is_durable


def _target_of(ring: KeyRing, token: str) -> tuple[ArticleLink, Headers]:
    """Read the article part of a click, and make the headers that lead there; raises LinkError."""
    article = verify_article(ring, token)
    return article, ((b"location", location(article.url)), *_REDIRECT_HEADERS)


def _suppression(reader: ReaderLink) -> Suppression:
    return Suppression(
        destination=reader.destination,
        scope=f"channel:{reader.channel_id}",
        reason="unsubscribed",
        source="ingest_api/one-click",
    )


def location(url: str) -> bytes:
    """Spell a signed address in ASCII, as a header must be: other characters are percent-encoded (RFC 3987, 3.1)."""
    return b"".join(bytes((one,)) if one in _UNESCAPED else b"%%%02X" % one for one in url.encode())


async def _answer(send: Send, method: str, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else body})
