"""POST /e, a batch of 50 in the broker before the answer, beside FastAPI models and a send an event (server CPU).

A batch is what one reader's page reports (`page`: two tokens, clicks on five articles): one agent and one address are
the evidence for all of it. Beside it is printed what is not meant, but works: `relay`, a batch of 50 readers with a
token each, more of them in all than the server remembers, so that every event is verified by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import functools
import itertools
import json
import random
import sys

from aiokafka import AIOKafkaConsumer, TopicPartition

from perf.load.servers import OURS, Server, free_port, load, running
from perf.load.site import AGENTS, SENT_AGO_S, Site, opened
from publishing.domain.keys import KeyRing
from publishing.domain.links import Purpose, sign_article, sign_reader
from publishing.runtime.clock import now_ms
from topics.catalog import CONTENT_SUBMITTED

PEER = "FastAPI list[Model] and one aiokafka send an event"
AT_LEAST, AIM = 5.0, 10.0
EVENTS = 50
BATCHES = 400
WARM_UP = 100
ARTICLES = 10
# How many readers a batch is of.
SHAPES = {"page": 1, "relay": EVENTS}
MEANT = "page"
PEER_APPLICATION = "perf.peers.beacon_api:app"


def letters_of(chance: random.Random, readers: int) -> list[dict[str, int]]:
    """The numbers of the letters that the events of a batch are of, in the order of the events."""
    destinations = chance.sample(range(1, 20_001), readers)
    letter = {"run_id": 77, "publication_id": 12, "channel_id": 3}
    return [letter | {"destination": destinations[place % readers]} for place in range(EVENTS)]


def request_of(path: str, batch: object, agent: str) -> bytes:
    """A POST of JSON."""
    body = json.dumps(batch).encode()
    return (
        f"POST {path} HTTP/1.1\r\nHost: links.example.org\r\nUser-Agent: {agent}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def our_batches(ring: KeyRing, readers: int, *, seed: int = 43) -> list[bytes]:
    """Batches of so many readers, half opens and half clicks on articles of one run."""
    chance, at_ms = random.Random(seed), now_ms()
    articles = [
        sign_article(ring, run_id=77, content_id=one + 1, link=1, url=f"https://news.example/articles/{one}?a=1")
        for one in range(ARTICLES)
    ]
    signed = functools.lru_cache(None)(functools.partial(sign_reader, ring, sent_at_s=at_ms // 1_000 - SENT_AGO_S))
    requests = []
    for number in range(BATCHES):
        events: list[dict[str, object]] = []
        for place, letter in enumerate(letters_of(chance, readers)):
            event: dict[str, object] = {"id": f"{number}-{place}", "occurred_at": at_ms - place * 20_000}
            if place % 2:
                event |= {"kind": "clicked", "reader": signed(purpose=Purpose.CLICK, **letter)}
                event |= {"article": articles[place % ARTICLES]}
            else:
                event |= {"kind": "opened", "reader": signed(purpose=Purpose.OPEN, **letter)}
            events.append(event)
        requests.append(request_of("/e", {"events": events}, chance.choice(AGENTS)))
    return requests


def peer_batches(readers: int, *, seed: int = 43) -> list[bytes]:
    """The same batches with the numbers in place of the tokens."""
    chance, at_ms = random.Random(seed), now_ms()
    requests = []
    for number in range(BATCHES):
        events = [
            {"id": f"{number}-{place}", "kind": "clicked" if place % 2 else "opened", **letter}
            | {"content_id": place % ARTICLES + 1, "link": 1, "occurred_at": at_ms - place * 20_000}
            for place, letter in enumerate(letters_of(chance, readers))
        ]
        requests.append(request_of("/events", events, chance.choice(AGENTS)))
    return requests


async def sent_by_peer(site: Site) -> int:
    """How many events the peer has in its topic: one a record."""
    topic = site.installation.topic_prefix + CONTENT_SUBMITTED.name
    consumer = AIOKafkaConsumer(bootstrap_servers=site.installation.addresses.kafka, enable_auto_commit=False)
    await consumer.start()
    try:
        places = [TopicPartition(topic, one) for one in range(CONTENT_SUBMITTED.partition_count(1))]
        ends = await consumer.end_offsets(places)
        return sum(ends.values())
    finally:
        await consumer.stop()


def cpu_us(server: Server, requests: str, arguments: argparse.Namespace, batches: int) -> float:
    """CPU time of the server's process for one event, microseconds; an answer that is no success ends the bench."""
    before_s = server.cpu_s()
    result = load(server.port, arguments.folder / requests, count=batches, connections=arguments.connections)
    answered = sum(result["statuses"].get(status, 0) for status in ("200", "202"))
    if answered != batches:
        sys.exit(f"not all of {batches} batches were answered well: {result}")
    return (server.cpu_s() - before_s) / (batches * EVENTS) * 1e6


Pairs = dict[str, list[tuple[float, float]]]


async def measure(site: Site, arguments: argparse.Namespace) -> tuple[Pairs, int]:
    """The CPU time of both in each pair of each shape, and the events that each was sent in all."""
    for shape, readers in SHAPES.items():
        site.write(f"ours-{shape}", our_batches(site.ring, readers))
        site.write(f"peer-{shape}", peer_batches(readers))
    arguments.folder = site.folder
    pairs: Pairs = {shape: [] for shape in SHAPES}
    sent = 0
    port, log = free_port(), site.folder / "servers.log"
    options = ["--loop", "uvloop", "--http", "httptools", "--ws", "none", "--no-access-log", "--log-level", "warning"]
    command = ["-m", "uvicorn", PEER_APPLICATION, "--port", str(port), "--backlog", "4096", *options]
    with contextlib.ExitStack() as stack:
        ours = stack.enter_context(running(OURS, site.variables, site.port, log))
        peer = stack.enter_context(running(command, site.variables, port, log))
        for number, shape in itertools.product(range(arguments.pairs + 1), SHAPES):
            batches = arguments.count if number else min(arguments.count, WARM_UP)
            mine = cpu_us(ours, f"ours-{shape}", arguments, batches)
            theirs = cpu_us(peer, f"peer-{shape}", arguments, batches)
            sent += batches * EVENTS
            if number:
                pairs[shape].append((mine, theirs))
    return pairs, sent


def middle(values: list[float]) -> float:
    """The median."""
    return sorted(values)[len(values) // 2]


def summary_of(pairs: list[tuple[float, float]]) -> dict[str, object]:
    """The medians of a shape, and how far the ratios are apart."""
    ratios = [peer / mine for mine, peer in pairs]
    return {
        "ours": round(middle([mine for mine, _ in pairs]), 2),
        "beside": {PEER: round(middle([peer for _, peer in pairs]), 2)},
        "ratio": {PEER: round(middle(ratios), 2)},
        "pairs": len(pairs),
        "spread": [round(min(ratios), 2), round(max(ratios), 2)],
    }


async def run(arguments: argparse.Namespace) -> int:
    """Measure and print; 1 below AT_LEAST, or when a log does not hold what was accepted."""
    async with opened() as site:
        pairs, sent = await measure(site, arguments)
        ours, theirs = await site.events(), await sent_by_peer(site)
    ratios = {shape: middle([peer / mine for mine, peer in found]) for shape, found in pairs.items()}
    is_checked = ours == theirs == sent
    shapes = {shape: summary_of(found) for shape, found in pairs.items()}
    print(f"{sent} events accepted of each; in the logs: ours {ours}, peer {theirs}")
    for shape, found in shapes.items():
        print(f"{shape}: {json.dumps(found)}")
    head = {"bench": "beacon", "unit": "us of the server's CPU an event", "relay": shapes.pop("relay")}
    print(json.dumps(head | shapes[MEANT] | {"checked": is_checked, "at_least": AT_LEAST, "aim": AIM}))
    return 0 if ratios[MEANT] >= AT_LEAST and is_checked else 1


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(prog="perf beacon", description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--count", type=int, default=1_000, help="batches of one round")
    parser.add_argument("--connections", type=int, default=32)
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
