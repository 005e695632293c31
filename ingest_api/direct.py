"""Owns the hits that are answered without a task: opens and clicks whose links hold, from the head of the request."""

import functools
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple, TypeAlias

from ingest_api.collector import Collector
from ingest_api.judging import Judge, hit_of
from publishing.domain.keys import KeyRing
from publishing.domain.links import ArticleLink, LinkError, Purpose, ReaderLink, verify_reader
from publishing.runtime import metrics
from publishing.runtime.clock import now_ms
from publishing.runtime.logs import get_logger
from schemas.messages import EngagementKind

Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class Reply(NamedTuple):
    """An answer as it goes over the wire: what stands before the server's own headers, and what follows them."""

    start: bytes
    rest: bytes


Answer: TypeAlias = Callable[[Reply], None]
Direct: TypeAlias = Callable[[bytes, Headers, str, Answer], bool]
Target: TypeAlias = Callable[[str], tuple[ArticleLink, Headers]]

# The article part of a click is the same for all readers of a run; what does not verify is not remembered.
MAX_REDIRECTS: Final = 4_096
_SUFFIX: Final = ".gif"
_RECORDED: Final = {
    (kind, is_durable): metrics.HITS.labels(kind.value, outcome).inc
    for kind in (EngagementKind.OPENED, EngagementKind.CLICKED)
    for is_durable, outcome in ((True, "counted"), (False, "dropped"))
}

log = get_logger(__name__)


class DirectLinks:
    """Takes GET requests of pixels and clicks whose links hold; all others are the front's, which says why not."""

    def __init__(self, collector: Collector, ring: KeyRing, judge: Judge, *, pixel: Reply, target: Target) -> None:
        """Share the front's judge, its pixel, and how it reads the article part of a click."""
        self._collector = collector
        self._ring = ring
        self._judge = judge
        self._pixel = pixel
        self._redirect = functools.lru_cache(MAX_REDIRECTS)(functools.partial(_redirect_of, target))

    def __call__(self, url: bytes, headers: Headers, client: str, answer: Answer) -> bool:
        """Take a request without a body and call `answer` later, once its hit is durable or dropped; or return False.

        `headers` have lower-case names; a request that names a trace is left to the front, which goes on with it.
        """
        try:
            path = url.decode("ascii")
            if path[:3] == "/o/" and path.endswith(_SUFFIX):
                reader = verify_reader(self._ring, Purpose.OPEN, path[3 : -len(_SUFFIX)])
                return self._take(EngagementKind.OPENED, reader, None, (headers, client), (self._pixel, answer))
            if path[:3] == "/c/":
                article_part, _, reader_part = path[3:].partition("/")
                reader = verify_reader(self._ring, Purpose.CLICK, reader_part)
                article, reply = self._redirect(article_part)
                if article.run_id == reader.run_id:
                    return self._take(EngagementKind.CLICKED, reader, article, (headers, client), (reply, answer))
        except (UnicodeDecodeError, LinkError):
            return False
        except Exception:
            log.exception("link.failed")
        return False

    def _take(
        self,
        kind: EngagementKind,
        reader: ReaderLink,
        article: ArticleLink | None,
        asking: tuple[Headers, str],
        answering: tuple[Reply, Answer],
    ) -> bool:
        """Judge a hit and hand it to the collector."""
        headers, client = asking
        fields = dict(headers)
        if b"traceparent" in fields or not self._judge.is_counted(reader):
            return False
        at_ms = now_ms()
        judged = self._judge.hit(self._judge.visitor(fields, client), reader, article, at_ms)
        hit = hit_of(kind, at_ms, reader, judged, article)
        return self._collector.take(hit, functools.partial(_answered, kind, *answering))


def reply_of(status: int, headers: Headers, body: bytes) -> Reply:
    """Encode an answer once, whose headers are sound; its length is stated."""
    lines = [b"%b: %b\r\n" % one for one in headers]
    start = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n".encode()
    return Reply(start, b"".join((b"content-length: %d\r\n" % len(body), *lines, b"\r\n", body)))


def _redirect_of(target: Target, article_part: str) -> tuple[ArticleLink, Reply]:
    """Read the article part of a click and encode the answer that leads there; raises LinkError."""
    article, headers = target(article_part)
    return article, reply_of(302, headers, b"")


def _answered(kind: EngagementKind, reply: Reply, answer: Answer, is_durable: bool) -> None:  # noqa: FBT001  - called by the collector
    """Count a hit and answer it, whatever became of it: no reader waits for a broker that is away."""
    _RECORDED[kind, is_durable]()
    answer(reply)
