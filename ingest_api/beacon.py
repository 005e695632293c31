"""Owns POST /e: a batch of opens and clicks that one reader's page reports, each counted once by the id it gave."""

import contextlib
import functools
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from typing import Annotated, Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Meta

from ingest_api.bodies import shape_error
from ingest_api.collector import Hit
from ingest_api.judging import Case, Judge, hit_of
from ingest_api.limits import BodyTooLargeError, read_body
from ingest_api.problems import MEDIA_TYPE, FieldError, ProblemError, invalid
from ingest_api.resources import Resources
from publishing.domain.links import ArticleLink, LinkError, Purpose, ReaderLink, verify_article, verify_reader
from publishing.domain.outside_ids import OutsideIds
from publishing.domain.tracking import ANONYMOUS_DESTINATION
from publishing.domain.verdicts import Judgement, Visitor
from publishing.runtime import metrics
from publishing.runtime.clock import now_ms
from schemas.messages import EngagementKind
from schemas.packing import Mark

BEACON_PATH: Final = "/e"
MAX_BODY_BYTES: Final = 262_144
MAX_EVENTS: Final = 500
MAX_REMEMBERED: Final = 4_096
RETRY_AFTER_S: Final = 5
# The end of the year 9999: what the message can carry; the engagement app clamps what is far from now.
_MAX_TIME_MS: Final = 253_402_300_799_999

Headers = dict[bytes, bytes]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]

# A page of any origin may report: a token is what says whose the event is, and no cookie is read.
# https://fetch.spec.whatwg.org/#http-cors-protocol
_CORS: Final = ((b"access-control-allow-origin", b"*"),)
_PREFLIGHT: Final = (
    *_CORS,
    (b"access-control-allow-methods", b"POST"),
    (b"access-control-allow-headers", b"content-type"),
    (b"access-control-max-age", b"86400"),
)
# navigator.sendBeacon sends a text as text/plain, which needs no preflight: https://w3c.github.io/beacon/
_MEDIA_TYPES: Final = frozenset({b"", b"application/json", b"text/plain"})


class BeaconEvent(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    """One open or click; `occurred_at` in milliseconds since 1970, left out: now."""

    id: Annotated[str, Meta(min_length=1, max_length=64)]
    kind: Literal["opened", "clicked"]
    reader: Annotated[str, Meta(min_length=1, max_length=4_096)]
    article: Annotated[str, Meta(max_length=4_096)] | None = None
    occurred_at: Annotated[int, Meta(ge=0, le=_MAX_TIME_MS)] | None = None


class _Batch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    events: Annotated[list[BeaconEvent], Meta(min_length=1, max_length=MAX_EVENTS)]


class _RawBatch(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    events: Annotated[list[msgspec.Raw], Meta(min_length=1, max_length=MAX_EVENTS)]


class Refusal(msgspec.Struct, frozen=True):
    """An event that is not counted, by its place in the batch, and why."""

    index: int
    field: str
    message: str


class _Answer(msgspec.Struct, frozen=True):
    accepted: int
    refused: list[Refusal]


_batch = msgspec.json.Decoder(_Batch)
_raw_batch = msgspec.json.Decoder(_RawBatch)
_event = msgspec.json.Decoder(BeaconEvent)
# What is malformed, not text, or too deep.
_NO_EVENT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_encode = msgspec.json.Encoder().encode


class Beacon:
    """Answers POST /e once every event that is accepted is durable."""

    def __init__(self, resources: Resources, judge: Judge) -> None:
        """Keep what records and what judges."""
        self._resources = resources
        self._judge = judge
        # Article parts are the same for all readers of a run, and a page reports more than once; what does not verify
        # is not remembered.
        self._article = functools.lru_cache(MAX_REMEMBERED)(functools.partial(verify_article, resources.tracking))
        self._reader = functools.lru_cache(MAX_REMEMBERED)(functools.partial(verify_reader, resources.tracking))

    async def __call__(self, scope: MutableMapping[str, Any], headers: Headers, receive: Receive, send: Send) -> None:
        """Serve one request; a problem is answered as RFC 9457 says."""
        if scope["method"] == "OPTIONS":
            await _send(send, 204, _PREFLIGHT, b"")
            return
        client = scope.get("client")
        try:
            events, refused = await _read(scope["method"], headers, receive)
            visitor = self._judge.visitor(headers, client[0] if client else "")
            answer = await self._record(events, refused, visitor)
        except ProblemError as problem:
            found = [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
            await _send(send, problem.status, (*_CORS, (b"content-type", MEDIA_TYPE.encode()), *found), problem.body())
        else:
            await _send(send, 202, (*_CORS, (b"content-type", b"application/json")), _encode(answer))

    async def _record(
        self, events: Iterable[tuple[int, BeaconEvent]], refused: list[Refusal], visitor: Visitor
    ) -> _Answer:
        """Record the events whose tokens are ours; raises a 503 problem when they are not known to be durable."""
        counting = _Counting(self._reader, self._article, self._judge, visitor=visitor, at_ms=now_ms())
        accepted = counting.add(events, refused)
        letters = counting.letters()
        is_durable = not letters or await self._resources.collector.record_alike(_hits(letters))
        _measure(letters, is_durable=is_durable)
        if not is_durable:
            detail = "The events could not be stored just now; send them again, with the same ids."
            raise ProblemError(503, detail, headers={"Retry-After": str(RETRY_AFTER_S)})
        if refused:
            metrics.HITS.labels("beacon", "invalid").inc(len(refused))
            refused.sort(key=lambda one: one.index)
        return _Answer(accepted, refused)


class _RefusedError(Exception):
    """The event is not counted: mend the field and send it again."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(field, message)
        self.field = field
        self.message = message


class _Letter(NamedTuple):
    """What the tokens of an event say, and the ids and times of the events that say it, by the judgement on them."""

    kind: EngagementKind
    reader: ReaderLink
    article: ArticleLink | None
    case: Case
    ids: OutsideIds
    marks: dict[int, tuple[Judgement, list[Mark]]]


class _Counting:
    """Gathers the events of one batch by what their tokens say, which is found out once."""

    def __init__(
        self,
        reader: Callable[[Purpose, str], ReaderLink],
        article: Callable[[str], ArticleLink],
        judge: Judge,
        *,
        visitor: Visitor,
        at_ms: int,
    ) -> None:
        self._verified_reader = reader
        self._verified_article = article
        self._judge = judge
        self._visitor = visitor
        self._at_ms = at_ms
        self._letters: dict[tuple[str, str, str | None], _Letter | _RefusedError | None] = {}
        self._ids: dict[str, OutsideIds] = {}

    def add(self, events: Iterable[tuple[int, BeaconEvent]], refused: list[Refusal]) -> int:
        """Put each event to those that are like it, or to the refused; returns how many are not refused.

        Under a policy that counts none, an event is taken and nothing comes of it.
        """
        letters, judge, now = self._letters, self._judge.judgement, self._at_ms
        accepted = 0
        for index, event in events:
            tokens = (event.kind, event.reader, event.article)
            try:
                letter = letters[tokens]
            except KeyError:
                letter = letters[tokens] = self._read(*tokens)
            if isinstance(letter, _RefusedError):
                refused.append(Refusal(index, letter.field, letter.message))
                continue
            accepted += 1
            if letter is None:
                continue
            at_ms = event.occurred_at
            if at_ms is None:
                at_ms = now
            # Events that waited in the page are judged by when they happened: together they are no burst.
            judgement = judge(letter.case, min(at_ms, now))
            mark = (letter.ids.of(event.id), at_ms)
            alike = letter.marks.get(judgement.flags)
            if alike is None:
                letter.marks[judgement.flags] = (judgement, [mark])
            else:
                alike[1].append(mark)
        return accepted

    def letters(self) -> list[_Letter]:
        """Return what is to be recorded."""
        return [one for one in self._letters.values() if isinstance(one, _Letter)]

    def _read(self, kind: str, reader_token: str, article_token: str | None) -> _Letter | _RefusedError | None:
        try:
            return self._letter(kind, reader_token, article_token)
        except _RefusedError as error:
            return error

    def _letter(self, kind: str, reader_token: str, article_token: str | None) -> _Letter | None:
        is_click = kind == "clicked"
        try:
            reader = self._verified_reader(Purpose.CLICK if is_click else Purpose.OPEN, reader_token)
        except LinkError as error:
            raise _RefusedError("reader", "is no token of this kind") from error
        article = None
        if is_click:
            article = self._article(article_token or "")
            if article.run_id != reader.run_id:
                raise _RefusedError("article", "is no link of the reader's letter")
        elif article_token is not None:
            raise _RefusedError("article", "belongs to a click")
        if not self._judge.is_counted(reader):
            return None
        case = self._judge.case(self._visitor, reader, article)
        source = _source_of(case.destination, reader)
        ids = self._ids.get(source)
        if ids is None:
            ids = self._ids[source] = OutsideIds(source)
        return _Letter(EngagementKind.CLICKED if is_click else EngagementKind.OPENED, reader, article, case, ids, {})

    def _article(self, token: str) -> ArticleLink:
        try:
            return self._verified_article(token)
        except LinkError as error:
            raise _RefusedError("article", "is no link") from error


def _hits(letters: Iterable[_Letter]) -> Iterator[tuple[Hit, list[Mark]]]:
    """Yield events that are alike as the hit that they are like, and their ids and times."""
    for kind, reader, article, case, _, alike in letters:
        for judgement, marks in alike.values():
            yield hit_of(kind, marks[0][1], reader, (case.destination, judgement), article), marks


def _source_of(destination: int, reader: ReaderLink) -> str:
    """Return what ids are apart by; where the reader is withheld the run alone, as nothing may lead to the reader."""
    return f"beacon/{destination}" if destination != ANONYMOUS_DESTINATION else f"beacon/run/{reader.run_id}"


async def _read(
    method: str, headers: Headers, receive: Receive
) -> tuple[Iterable[tuple[int, BeaconEvent]], list[Refusal]]:
    """Read the batch: the events with their places, and those that are malformed; raises ProblemError."""
    if method != "POST":
        raise ProblemError(405, "Events are posted.", headers={"Allow": "POST, OPTIONS"})
    if headers.get(b"content-type", b"").partition(b";")[0].strip().lower() not in _MEDIA_TYPES:
        raise ProblemError(415, "Events are application/json or text/plain.")
    if headers.get(b"content-encoding", b"identity") != b"identity":
        raise ProblemError(415, "A body must not be compressed.")
    try:
        body = await read_body(receive, headers, max_bytes=MAX_BODY_BYTES)
    except BodyTooLargeError as error:
        detail = f"A body here has at most {error.max_bytes} bytes."
        raise ProblemError(413, detail, headers={"Connection": "close"}) from error
    with contextlib.suppress(*_NO_EVENT):
        return enumerate(_batch.decode(body).events), []
    return _read_each(body)


def _read_each(body: bytes) -> tuple[list[tuple[int, BeaconEvent]], list[Refusal]]:
    """Read a batch of which something is malformed, event by event; raises a 422 problem for what is no batch."""
    try:
        raws = _raw_batch.decode(body).events
    except msgspec.ValidationError as error:
        raise invalid(shape_error(str(error))) from None
    except _NO_EVENT:
        raise invalid(FieldError("", "is not JSON")) from None
    events, refused = [], []
    for index, raw in enumerate(raws):
        try:
            events.append((index, _event.decode(raw)))
        except _NO_EVENT as error:
            found = shape_error(str(error))
            refused.append(Refusal(index, found.field, found.message))
    return events, refused


def _measure(letters: Iterable[_Letter], *, is_durable: bool) -> None:
    counts = dict.fromkeys((EngagementKind.OPENED, EngagementKind.CLICKED), 0)
    for letter in letters:
        counts[letter.kind] += sum(len(marks) for _, marks in letter.marks.values())
    for kind, count in counts.items():
        if count:
            metrics.HITS.labels(kind.value, "counted" if is_durable else "dropped").inc(count)


async def _send(send: Send, status: int, headers: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    start = [*headers, length, (b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
    await send({"type": "http.response.start", "status": status, "headers": start})
    await send({"type": "http.response.body", "body": body})
