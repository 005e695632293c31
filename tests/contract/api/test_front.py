"""Tracked links with every service away: what is answered, what is counted, and what acts."""

from typing import Any

import pytest

from ingest_api import pages
from ingest_api.front import PIXEL, location
from publishing.domain.links import Purpose, sign_article, sign_reader
from schemas.frames import KINDS, decode_frame

pytestmark = pytest.mark.contract

NUMBERS = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41}
URL = "https://example.org/a?b=c"
ONE_CLICK = "List-Unsubscribe=One-Click"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
BROWSER = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/120.0"}


def reader(stranded: Any, purpose: Purpose, **changes: int) -> str:
    """A reader's token."""
    return sign_reader(stranded.settings.tracking, purpose=purpose, **(NUMBERS | changes))


def article(stranded: Any, run_id: int = 77) -> str:
    """An article's token."""
    return sign_article(stranded.settings.tracking, run_id=run_id, content_id=9, link=2, url=URL)


def events(stranded: Any) -> list[tuple[Any, ...]]:
    """(kind, destination, content, link, verdict) of what was kept."""
    return [
        (KINDS[event["kind"]], int(event["destination"]), int(event["content_id"]), int(event["link"]))
        for _, frame in stranded.kept.frames
        for event in decode_frame(frame).events
    ]


async def test_a_pixel_counts_an_open(stranded: Any) -> None:
    """A pixel of 43 bytes that nothing keeps, and one open in the reader's shard."""
    answer = await stranded.client.get(f"/o/{reader(stranded, Purpose.OPEN)}.gif", headers=BROWSER)
    assert answer.status_code == 200
    assert (len(answer.content), answer.content) == (43, PIXEL)
    assert answer.headers["content-type"] == "image/gif"
    assert "no-store" in answer.headers["cache-control"]
    assert events(stranded) == [("opened", 41, 0, 0)]
    assert stranded.kept.frames[0][0] == 41 % 4


async def test_a_click_goes_where_it_was_signed_to(stranded: Any) -> None:
    """A click is counted with its article and link, and led to the signed address."""
    path = f"/c/{article(stranded)}/{reader(stranded, Purpose.CLICK)}"
    answer = await stranded.client.get(path, headers=BROWSER)
    assert (answer.status_code, answer.headers["location"]) == (302, URL)
    assert events(stranded) == [("clicked", 41, 9, 2)]


async def test_links_work_without_a_broker(stranded: Any) -> None:
    """With nothing durable a pixel and a click are answered, and an unsubscription asks to come again."""
    stranded.lose_broker()
    assert (await stranded.client.get(f"/o/{reader(stranded, Purpose.OPEN)}.gif")).status_code == 200
    click = await stranded.client.get(f"/c/{article(stranded)}/{reader(stranded, Purpose.CLICK)}")
    assert click.status_code == 302
    path = f"/u/{reader(stranded, Purpose.UNSUBSCRIBE)}"
    answer = await stranded.client.post(path, content=ONE_CLICK, headers=FORM)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")


async def test_a_head_never_counts(stranded: Any) -> None:
    """HEAD is answered as GET without a body, and counts nothing."""
    for path in (
        f"/o/{reader(stranded, Purpose.OPEN)}.gif",
        f"/c/{article(stranded)}/{reader(stranded, Purpose.CLICK)}",
        f"/u/{reader(stranded, Purpose.UNSUBSCRIBE)}",
    ):
        head = await stranded.client.head(path)
        get = await stranded.client.get(path)
        assert (head.status_code, head.content) == (get.status_code, b"")
        assert {n: v for n, v in head.headers.items() if n != "date"} == {
            n: v for n, v in get.headers.items() if n != "date"
        }
    assert [event[0] for event in events(stranded)] == ["opened", "clicked"]


@pytest.mark.parametrize("content_type", ["urlencoded", "multipart"])
async def test_one_click(stranded: Any, content_type: str) -> None:
    """The body of RFC 8058 in either form unsubscribes, without a redirect or a cookie."""
    path = f"/u/{reader(stranded, Purpose.UNSUBSCRIBE)}"
    if content_type == "urlencoded":
        answer = await stranded.client.post(path, content=ONE_CLICK, headers=FORM)
    else:
        answer = await stranded.client.post(path, files={"List-Unsubscribe": (None, "One-Click")})
    assert answer.status_code == 200
    assert "set-cookie" not in answer.headers
    assert events(stranded) == [("unsubscribed", 41, 0, 0)]


@pytest.mark.parametrize("body", ["", "x=y", "List-Unsubscribe=Other", "xList-Unsubscribe=One-Click", "x" * 9_000])
async def test_other_bodies_do_not_act(stranded: Any, body: str) -> None:
    """Only the body of RFC 8058 acts."""
    path = f"/u/{reader(stranded, Purpose.UNSUBSCRIBE)}"
    answer = await stranded.client.post(path, content=body, headers=FORM)
    assert answer.status_code == (413 if len(body) > 8_192 else 400)
    assert events(stranded) == []


async def test_a_get_shows_a_form(stranded: Any) -> None:
    """A scanner that follows the link changes nothing: the page holds a form that posts the one-click body."""
    answer = await stranded.client.get(f"/u/{reader(stranded, Purpose.UNSUBSCRIBE)}")
    assert answer.status_code == 200
    assert 'method="post"' in answer.text
    assert "One-Click" in answer.text
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "script" not in answer.text
    assert events(stranded) == []


async def test_bad_tokens(stranded: Any) -> None:
    """A bad token gets a pixel that counts nothing, or a page that says the link leads nowhere."""
    good = reader(stranded, Purpose.UNSUBSCRIBE)
    clicked = reader(stranded, Purpose.CLICK)
    for token in ("x", good, good[:-1], clicked[:-1] + ("A" if clicked[-1] != "A" else "B"), "%0d%0a", "a/b"):
        pixel = await stranded.client.get(f"/o/{token}.gif")
        assert (pixel.status_code, pixel.content) == (200, PIXEL)
        click = await stranded.client.get(f"/c/{article(stranded)}/{token}")
        assert (click.status_code, click.content) == (404, pages.NOT_FOUND)
    for token in ("x", clicked, good[:-2], good + "A"):
        assert (await stranded.client.get(f"/u/{token}")).status_code == 404
        assert (await stranded.client.post(f"/u/{token}", content=ONE_CLICK, headers=FORM)).status_code == 404
    assert (await stranded.client.get(f"/c/{clicked}/{clicked}")).status_code == 404
    assert (await stranded.client.get(f"/c/{article(stranded)}")).status_code == 404
    assert events(stranded) == []


async def test_the_parts_of_two_runs_do_not_mix(stranded: Any) -> None:
    """A reader's part of one run does not count for an article of another."""
    path = f"/c/{article(stranded, run_id=78)}/{reader(stranded, Purpose.CLICK)}"
    assert (await stranded.client.get(path)).status_code == 404
    assert events(stranded) == []


async def test_no_flipped_character_unsubscribes(stranded: Any) -> None:
    """A token with any character changed acts on nobody (fault S12)."""
    good = reader(stranded, Purpose.UNSUBSCRIBE)
    for place in range(len(good)):
        forged = good[:place] + ("A" if good[place] != "A" else "B") + good[place + 1 :]
        answer = await stranded.client.post(f"/u/{forged}", content=ONE_CLICK, headers=FORM)
        assert answer.status_code == 404
    assert events(stranded) == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_methods(stranded: Any, method: str) -> None:
    """A link is only read."""
    answer = await stranded.client.request(method, f"/o/{reader(stranded, Purpose.OPEN)}.gif")
    assert answer.status_code == 405
    assert events(stranded) == []


@pytest.mark.parametrize(
    ("url", "spelt"),
    [
        ("https://example.org/zürich?q=漢", b"https://example.org/z%C3%BCrich?q=%E6%BC%A2"),
        ("https://example.org/a%20b?c=d#e", b"https://example.org/a%20b?c=d#e"),
    ],
)
def test_locations_are_ascii(url: str, spelt: bytes) -> None:
    """A header holds ASCII alone; what is escaped already stays as it is."""
    assert location(url) == spelt
