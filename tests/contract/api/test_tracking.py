"""What the front keeps of a reader: as policy, letter and reader allow, and never an address or a user agent."""

import dataclasses
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client import generate_latest

from ingest_api.front import PIXEL, Front
from ingest_api.resources import Resources
from publishing.domain.links import HONEYPOT_LINK, Purpose, sign_article, sign_reader
from publishing.domain.tracking import TrackingPolicy
from publishing.domain.verdicts import FLAG_HONEYPOT, FLAG_PRIVATE, FLAG_UNLEARNED
from publishing.runtime.metrics import REGISTRY
from schemas.frames import AGENTS, KINDS, NETWORKS, VERDICTS, decode_frame
from tests.fakes.durables import KeepingDurable

pytestmark = pytest.mark.contract

NUMBERS: dict[str, Any] = {"run_id": 77, "publication_id": 12, "channel_id": 3, "destination": 41}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
ONE_CLICK = "List-Unsubscribe=One-Click"
CANARY_AGENT = "Mozilla/5.0 (X11; Linux x86_64) Gecko/20100101 Firefox/143.0 canary-7c1e"
CANARY_ADDRESS = "40.107.222.99"


def token(one: Any, purpose: Purpose, **changes: Any) -> str:
    """A reader's token."""
    return sign_reader(one.settings.tracking, purpose=purpose, **(NUMBERS | changes))


def link(one: Any, number: int = 9, which: int = 1) -> str:
    """An article's token."""
    return sign_article(one.settings.tracking, run_id=77, content_id=number, link=which, url="https://example.org/")


async def use(one: Any, headers: dict[str, str] | None = None, **changes: Any) -> None:
    """Open, click and leave one letter."""
    sent = {"User-Agent": CANARY_AGENT} | (headers or {})
    pixel = await one.client.get(f"/o/{token(one, Purpose.OPEN, **changes)}.gif", headers=sent)
    assert pixel.content == PIXEL
    clicked = await one.client.get(f"/c/{link(one)}/{token(one, Purpose.CLICK, **changes)}", headers=sent)
    assert clicked.status_code == 302
    path = f"/u/{token(one, Purpose.UNSUBSCRIBE, **changes)}"
    assert (await one.client.post(path, content=ONE_CLICK, headers=sent | FORM)).status_code == 200


def events(one: Any) -> list[Any]:
    """The events of all frames."""
    return [event for _, frame in one.kept.frames for event in decode_frame(frame).events]


def facts(one: Any) -> list[tuple[str, int, int]]:
    """(kind, destination, flags) of what was kept."""
    return [(KINDS[event["kind"]].value, int(event["destination"]), int(event["flags"])) for event in events(one)]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        (TrackingPolicy.OFF, [("unsubscribed", 41, 0)]),
        (TrackingPolicy.ANONYMOUS, [("opened", 0, 0), ("clicked", 0, 0), ("unsubscribed", 41, 0)]),
        (
            TrackingPolicy.PSEUDONYMOUS,
            [("opened", 41, FLAG_UNLEARNED), ("clicked", 41, FLAG_UNLEARNED), ("unsubscribed", 41, 0)],
        ),
        (TrackingPolicy.IDENTIFIED, [("opened", 41, 0), ("clicked", 41, 0), ("unsubscribed", 41, 0)]),
    ],
)
async def test_a_letter_keeps_its_policy(
    stranded: Any, policy: TrackingPolicy, kept: list[tuple[str, int, int]]
) -> None:
    """Links work under each policy, and to leave is always possible and always the reader's own."""
    await use(stranded, policy=policy)
    assert facts(stranded) == kept


@pytest.mark.parametrize("name", ["DNT", "Sec-GPC"])
async def test_a_reader_who_objects_is_nobody(stranded: Any, name: str) -> None:
    """DNT and GPC withhold the number of opens and clicks; whoever leaves is known, or could not leave."""
    await use(stranded, {name: "1"})
    assert facts(stranded) == [("opened", 0, FLAG_PRIVATE), ("clicked", 0, FLAG_PRIVATE), ("unsubscribed", 41, 0)]


async def test_a_gateway_is_caught_by_the_invisible_link(stranded: Any) -> None:
    """Who follows what no reader sees is led home, and is a machine in all it does to that letter afterwards."""
    headers = {"User-Agent": CANARY_AGENT}
    honeypot = sign_article(
        stranded.settings.tracking, run_id=77, content_id=0, link=HONEYPOT_LINK, url="https://news.example/"
    )
    click = token(stranded, Purpose.CLICK)
    answer = await stranded.client.get(f"/c/{honeypot}/{click}", headers=headers)
    assert (answer.status_code, answer.headers["location"]) == (302, "https://news.example/")
    await stranded.client.get(f"/c/{link(stranded)}/{click}", headers=headers)
    await stranded.client.get(f"/o/{token(stranded, Purpose.OPEN)}.gif", headers=headers)
    other = token(stranded, Purpose.OPEN, destination=45)
    await stranded.client.get(f"/o/{other}.gif", headers=headers)
    found = [(VERDICTS[event["verdict"]].value, int(event["flags"])) for event in events(stranded)]
    assert found == [("machine", FLAG_HONEYPOT)] * 3 + [("human", 0)]


async def test_a_head_leaves_no_trace(stranded: Any) -> None:
    """A HEAD of every link of a letter, the invisible one too, is no evidence against its reader."""
    click = token(stranded, Purpose.CLICK)
    for number in range(6):
        await stranded.client.head(f"/c/{link(stranded, number)}/{click}")
    honeypot = sign_article(
        stranded.settings.tracking, run_id=77, content_id=0, link=HONEYPOT_LINK, url="https://news.example/"
    )
    await stranded.client.head(f"/c/{honeypot}/{click}")
    await stranded.client.get(f"/c/{link(stranded)}/{click}", headers={"User-Agent": CANARY_AGENT})
    assert [(VERDICTS[event["verdict"]].value, int(event["flags"])) for event in events(stranded)] == [("human", 0)]


@dataclasses.dataclass(slots=True)
class FromAddress:
    """A front whose client has the canary's address."""

    settings: Any
    client: httpx.AsyncClient
    kept: KeepingDurable


@pytest.fixture
async def canary(stranded: Any) -> AsyncIterator[FromAddress]:
    """The front, asked from the address of a gateway."""
    resources: Resources = stranded.resources
    transport = httpx.ASGITransport(Front(stranded.client._transport.app, resources), client=(CANARY_ADDRESS, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
        yield FromAddress(stranded.settings, client, stranded.kept)


async def test_address_and_agent_are_used_and_dropped(canary: FromAddress, caplog: pytest.LogCaptureFixture) -> None:
    """The class of the network and the family of the agent are kept; the canaries are in no frame, log or metric."""
    caplog.set_level(logging.DEBUG)
    await use(canary)
    batch = {"events": [{"id": "1", "kind": "opened", "reader": token(canary, Purpose.OPEN)}]}
    await canary.client.post("/e", content=json.dumps(batch), headers={"User-Agent": CANARY_AGENT})
    await canary.client.get("/o/forged.gif", headers={"User-Agent": CANARY_AGENT})
    found = {(AGENTS[event["agent"]].value, NETWORKS[event["network"]].value) for event in events(canary)}
    assert found == {("browser", "gateway")}
    assert {VERDICTS[event["verdict"]].value for event in events(canary)} == {"machine"}
    frames = b"".join(frame for _, frame in canary.kept.frames)
    places = [frames, caplog.text.encode(), generate_latest(REGISTRY)]
    address = bytes(map(int, CANARY_ADDRESS.split(".")))
    assert all(word not in place for place in places for word in (b"canary-7c1e", CANARY_ADDRESS.encode()))
    assert address not in frames
