"""Owns the tracked links: a raw ASGI front that answers /o, /c and /u before any framework."""

import asyncio
import re
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from ingest_api import pages
from ingest_api.collector import Hit
from ingest_api.limits import BodyTooLargeError, ClientGoneError, read_body
from ingest_api.resources import Resources
from publishing.domain.links import ArticleLink, LinkError, Purpose, ReaderLink, verify_article, verify_reader
from publishing.domain.verdicts import Judgement, judge
from publishing.runtime import metrics
from publishing.runtime.clock import now_ms
from publishing.runtime.correlation import accept_traceparent
from publishing.runtime.logs import get_logger
from publishing.stores import suppressions
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
# A form of one field; RFC 8058 section 3.1 allows multipart/form-data, which is longer.
MAX_FORM_BYTES = 8_192
# The reader waits for the answer: beyond this the stream alone writes the suppression.
SUPPRESSION_WAIT_S = 0.2
_ONE_CLICK = re.compile(
    rb"(?:^|&)List-Unsubscribe=One-Click(?:&|\r?\n|$)|"
    rb"name=\"?List-Unsubscribe\"?[^\r\n]*\r?\n(?:[^\r\n]+\r?\n)*\r?\nOne-Click\r?\n",
    re.IGNORECASE,
)
_UNESCAPED: Final = frozenset(range(0x21, 0x7F))

log = get_logger(__name__)


class Front:
    """Answers tracked links itself and passes everything else on."""

    def __init__(self, rest: Asgi, resources: Resources) -> None:
        """Keep what comes behind."""
        self._rest = rest
        self._resources = resources

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        path: str = scope.get("path", "")
        if scope["type"] != "http" or path[:3] not in {"/o/", "/c/", "/u/"}:
            await self._rest(scope, receive, send)
            return
        try:
            await self._link(path, scope, receive, send)
        except ClientGoneError:
            log.info("link.client_gone")

    async def _link(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one link."""
        method: str = scope["method"]
        headers = dict(scope["headers"])
        accept_traceparent(headers.get(b"traceparent", b"").decode("latin-1"))
        if method not in {"GET", "HEAD"} and not (path[1] == "u" and method == "POST"):
            await _answer(send, method, 405, ((b"allow", b"GET, HEAD"), *_PAGE_HEADERS), pages.NOT_FOUND)
        elif path[1] == "o":
            await self._pixel(method, path, headers, send)
        elif path[1] == "c":
            await self._click(method, path, headers, send)
        elif method == "POST":
            await self._unsubscribe(path, headers, receive, send)
        else:
            await self._unsubscribe_page(method, path, send)

    async def _pixel(self, method: str, path: str, headers: dict[bytes, bytes], send: Send) -> None:
        reader = self._reader(Purpose.OPEN, path[3:].removesuffix(".gif")) if path.endswith(".gif") else None
        if reader is None:
            metrics.HITS.labels("opened", "invalid").inc()
        else:
            await self._count(method, EngagementKind.OPENED, reader, judge(headers))
        await _answer(send, method, 200, _PIXEL_HEADERS, PIXEL)

    async def _click(self, method: str, path: str, headers: dict[bytes, bytes], send: Send) -> None:
        article_part, _, reader_part = path[3:].partition("/")
        reader = self._reader(Purpose.CLICK, reader_part)
        try:
            article = verify_article(self._resources.tracking, article_part)
        except LinkError:
            article = None
        if article is None or reader is None or article.run_id != reader.run_id:
            metrics.HITS.labels("clicked", "invalid").inc()
            await _answer(send, method, 404, _PAGE_HEADERS, pages.NOT_FOUND)
            return
        await self._count(method, EngagementKind.CLICKED, reader, judge(headers), article)
        await _answer(send, method, 302, ((b"location", location(article.url)), *_REDIRECT_HEADERS), b"")

    async def _unsubscribe_page(self, method: str, path: str, send: Send) -> None:
        if self._reader(Purpose.UNSUBSCRIBE, path[3:]) is None:
            await _answer(send, method, 404, _PAGE_HEADERS, pages.NOT_FOUND)
        else:
            await _answer(send, method, 200, _PAGE_HEADERS, pages.UNSUBSCRIBE)

    async def _unsubscribe(self, path: str, headers: dict[bytes, bytes], receive: Receive, send: Send) -> None:
        reader = self._reader(Purpose.UNSUBSCRIBE, path[3:])
        if reader is None:
            metrics.HITS.labels("unsubscribed", "invalid").inc()
            await _answer(send, "POST", 404, _PAGE_HEADERS, pages.NOT_FOUND)
            return
        try:
            body = await read_body(receive, headers, max_bytes=MAX_FORM_BYTES)
        except BodyTooLargeError:
            await _answer(send, "POST", 413, _PAGE_HEADERS, pages.INCOMPLETE)
            return
        if not _ONE_CLICK.search(body):
            await _answer(send, "POST", 400, _PAGE_HEADERS, pages.INCOMPLETE)
            return
        _, is_durable = await asyncio.gather(
            self._suppress(reader), self._count("POST", EngagementKind.UNSUBSCRIBED, reader, judge(headers))
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

    async def _count(
        self,
        method: str,
        kind: EngagementKind,
        reader: ReaderLink,
        judgement: Judgement,
        article: ArticleLink | None = None,
    ) -> bool:
        """Record a hit and return whether it is durable; a HEAD is none."""
        if method == "HEAD":
            metrics.HITS.labels(kind.value, "ignored").inc()
            return True
        hit = Hit(
            occurred_at_ms=now_ms(),
            kind=kind,
            judgement=judgement,
            run_id=reader.run_id,
            publication_id=reader.publication_id,
            channel_id=reader.channel_id,
            destination=reader.destination,
            arm=reader.arm,
            content_id=article.content_id if article else 0,
            link=article.link if article else 0,
        )
        is_durable = await self._resources.collector.record(hit)
        metrics.HITS.labels(kind.value, "counted" if is_durable else "dropped").inc()
        return is_durable

    async def _suppress(self, reader: ReaderLink) -> None:
        """Write the suppression at once when the database answers in time; the stream writes it in any case."""
        pool = self._resources.pool.opened
        if pool is None:
            return
        try:
            async with asyncio.timeout(SUPPRESSION_WAIT_S):
                await suppressions.add(pool, [_suppression(reader)])
        except Exception as error:  # noqa: BLE001  - the event that follows is what must not fail
            log.warning("suppression.late", error=type(error).__name__)
        else:
            metrics.SUPPRESSIONS.labels("direct").inc()


def _suppression(reader: ReaderLink) -> suppressions.Suppression:
    return suppressions.Suppression(
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
