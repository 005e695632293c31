"""Hits that need no task: which links are taken, what is recorded of them, and what is left to the front."""

import pytest

from ingest_api.collector import Collector, NotDurableError
from ingest_api.direct import DirectLinks, Headers, Reply, reply_of
from ingest_api.judging import Judge
from publishing.domain.keys import KeyRing
from publishing.domain.links import ArticleLink, Purpose, sign_article, sign_reader, verify_article
from publishing.runtime.settings import Settings
from schemas.frames import decode_frame

pytestmark = pytest.mark.unit

RING = KeyRing((("k1", b"k" * 32),))
PIXEL = reply_of(200, (), b"GIF")
HEADERS = ((b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"),)
NOW_MS = 1_770_000_000_000


def target(token: str) -> tuple[ArticleLink, Headers]:
    """Read the article part as the front does."""
    article = verify_article(RING, token)
    return article, ((b"location", article.url.encode()),)


class Stage:
    """Links over a collector whose frames are kept in a list, or refused."""

    def __init__(self, *, is_full: bool = False, **changes: object) -> None:
        self.frames: list[bytes] = []
        self.replies: list[Reply] = []
        self._is_full = is_full
        self.collector = Collector(self, shards=4, recorded_by="test", clock_ms=lambda: NOW_MS, linger_s=0.001)
        judge = Judge(Settings.model_validate(changes))
        self.links = DirectLinks(self.collector, RING, judge, pixel=PIXEL, target=target)

    async def keep(self, _: int, frame: bytes) -> None:
        """Be what is durable."""
        if self._is_full:
            raise NotDurableError
        self.frames.append(frame)

    def ask(self, path: str, *headers: tuple[bytes, bytes]) -> bool:
        """Offer a request."""
        return self.links(path.encode(), (*HEADERS, *headers), "203.0.113.9", self.replies.append)

    async def recorded(self) -> list[tuple[int, int, int]]:
        """Kind, destination and link of what was recorded."""
        await self.collector.drain()
        events = [event for frame in self.frames for event in decode_frame(frame).events]
        return [(int(one["kind"]), int(one["destination"]), int(one["link"])) for one in events]


def reader(purpose: Purpose, run_id: int = 77) -> str:
    """A reader's token."""
    return sign_reader(RING, purpose=purpose, run_id=run_id, publication_id=12, channel_id=3, destination=41)


def click(run_id: int = 77) -> str:
    """The path of a click in run 77."""
    article = sign_article(RING, run_id=77, content_id=5, link=2, url="https://example.org/a")
    return f"/c/{article}/{reader(Purpose.CLICK, run_id)}"


OPEN = f"/o/{reader(Purpose.OPEN)}.gif"


async def test_a_sound_link_is_recorded_then_answered() -> None:
    """The answer comes once the frame is kept, and not before."""
    stage = Stage()
    assert stage.ask(OPEN)
    assert stage.ask(click())
    assert stage.replies == []
    recorded = await stage.recorded()
    assert [(destination, link) for _, destination, link in recorded] == [(41, 0), (41, 2)]
    assert stage.replies[0] == PIXEL
    assert stage.replies[1].start == b"HTTP/1.1 302 Found\r\n"
    assert stage.replies[1].rest == b"content-length: 0\r\nlocation: https://example.org/a\r\n\r\n"


async def test_what_is_not_kept_is_answered_too() -> None:
    """A reader gets the pixel whatever becomes of the hit."""
    stage = Stage(is_full=True)
    assert stage.ask(OPEN)
    await stage.collector.drain()
    assert stage.replies == [PIXEL]


@pytest.mark.parametrize(
    "path",
    [
        "/o/forged.gif",
        OPEN.removesuffix(".gif"),
        OPEN + "?a=1",
        OPEN.replace("/o/", "/%6f/"),
        f"/o/{reader(Purpose.CLICK)}.gif",
        click(run_id=78),
        f"/u/{reader(Purpose.UNSUBSCRIBE)}",
        "/o/\u00e9.gif",
        "/e",
        "*",
    ],
)
async def test_all_others_are_the_fronts(path: str) -> None:
    """A link that does not hold, is spelt in another way, or is no open or click is not taken."""
    stage = Stage()
    assert not stage.ask(path)
    assert await stage.recorded() == []


async def test_a_named_trace_is_the_fronts() -> None:
    """A request that goes on with a trace is not taken."""
    assert not Stage().ask(OPEN, (b"traceparent", b"00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01"))


async def test_nothing_is_taken_under_the_policy_off() -> None:
    """Where nothing is counted the front answers, and counts it as ignored."""
    assert not Stage(tracking_policy="off").ask(OPEN)


async def test_a_collector_without_room_takes_nothing() -> None:
    """Beyond what may wait, the front answers, and counts it as dropped."""
    stage = Stage()
    stage.collector._waiting = 25_000
    assert not stage.ask(OPEN)
