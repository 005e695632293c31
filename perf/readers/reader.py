"""The readers: they follow the accept log of the SES simulator and open, click and leave as they intend."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TextIO
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from perf.readers.habit import AGENTS, Habits, Intent, hash_of, intent_of, mail_key
from perf.readers.mail import ONE_CLICK, ReadMail, read_mail

CONCURRENCY = 16
PAGE_ROWS = 500
POLL_S = 0.2
# RFC 9110 section 15.4: a click answers by one of these; the reader looks at Location and goes nowhere.
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PIXEL_HEADERS = {"Accept": "image/avif,image/webp,image/png,image/*;q=0.8,*/*;q=0.5", "Sec-Fetch-Dest": "image"}
_PAGE_HEADERS = {
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    "Sec-Fetch-Dest": "document",
    "Sec-Fetch-Mode": "navigate",
    "Upgrade-Insecure-Requests": "1",
}

# A row of the accept log, and whether it is a gateway that gets the mail.
Mail = tuple[dict[str, Any], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One request that a reader makes."""

    kind: str
    method: str
    url: str
    headers: dict[str, str]
    body: str | None = None


@dataclass(slots=True, kw_only=True)
class Readers:
    """All readers of one simulator.

    `log` takes a line for each hit; `front_url` replaces scheme and host of tracked links, for a front that is not
    reached by its public name; `now_ms` and `monotonic_s` are the clocks.
    """

    ses_url: str
    habits: Habits
    log: TextIO
    now_ms: Callable[[], int]
    monotonic_s: Callable[[], float]
    front_url: str | None = None
    settle_s: float | None = None
    counts: Counter[str] = field(default_factory=Counter)
    _since: int = 0
    _due: list[tuple[float, int, bool, dict[str, Any]]] = field(default_factory=list)
    _reading: int = 0
    _busy_at: float = 0.0

    async def run(self, stopped: asyncio.Event) -> dict[str, int]:
        """Follow the log until `stopped`, or until nothing was new or left for `settle_s`; return the summary."""
        self._busy_at = self.monotonic_s()
        queue: asyncio.Queue[Mail] = asyncio.Queue(CONCURRENCY)
        connector = aiohttp.TCPConnector(limit=CONCURRENCY + 1)
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar()
        ) as session:
            workers = [asyncio.create_task(self._work(queue, session)) for _ in range(CONCURRENCY)]
            try:
                await self._follow(queue, session, stopped)
                await _finish(queue, seconds=10.0)
            finally:
                for worker in workers:
                    worker.cancel()
                await asyncio.gather(*workers, return_exceptions=True)
        return self.summary()

    def summary(self) -> dict[str, int]:
        """Return how many mails were read and what came of them; `refused` hits got no or an error answer."""
        names = ("mails", "opened", "clicked", "refused", "unsubscribed", "unread", "gated", "looked")
        return {name: self.counts[name] for name in names}

    async def _follow(self, queue: asyncio.Queue[Mail], session: aiohttp.ClientSession, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            rows = await self._poll(session)
            now_s = self.monotonic_s()
            for row in rows:
                intent = intent_of(mail_key(row), self.habits)
                heapq.heappush(self._due, (now_s + intent.delay_s, row["seq"], False, row))
                if intent.is_gated:
                    heapq.heappush(self._due, (now_s, row["seq"], True, row))
            while self._due and self._due[0][0] <= now_s and not stopped.is_set():
                _, _, is_gateway, row = heapq.heappop(self._due)
                await queue.put((row, is_gateway))
            if rows or self._due or self._reading or not queue.empty():
                self._busy_at = self.monotonic_s()
            elif self.settle_s is not None and self.monotonic_s() - self._busy_at >= self.settle_s:
                return
            if len(rows) < PAGE_ROWS:
                await _pause(stopped, POLL_S)

    async def _poll(self, session: aiohttp.ClientSession) -> list[dict[str, Any]]:
        """Return the next page of the accept log; an unreachable simulator has nothing new."""
        query = {"since": str(self._since), "limit": str(PAGE_ROWS)}
        try:
            async with session.get(f"{self.ses_url}/_log", params=query) as answer:
                answer.raise_for_status()
                rows = [json.loads(line) for line in (await answer.text()).splitlines()]
        except (aiohttp.ClientError, TimeoutError):
            return []
        if rows:
            self._since = rows[-1]["seq"]
        return rows

    async def _work(self, queue: asyncio.Queue[Mail], session: aiohttp.ClientSession) -> None:
        while True:
            row, is_gateway = await queue.get()
            self._reading += 1
            try:
                await self._read(row, session, is_gateway=is_gateway)
            finally:
                self._reading -= 1
                queue.task_done()

    async def _read(self, row: dict[str, Any], session: aiohttp.ClientSession, *, is_gateway: bool) -> None:
        try:
            async with session.get(f"{self.ses_url}/_message/{row['message_id']}") as answer:
                answer.raise_for_status()
                mail = read_mail(await answer.read())
        except (aiohttp.ClientError, TimeoutError, ValueError, LookupError):
            self.counts["unread"] += 1
            return
        if is_gateway:
            self.counts["gated"] += 1
            hits = gateway_hits(mail)
        else:
            self.counts["mails"] += 1
            hits = hits_of(mail, intent_of(mail_key(row), self.habits))
        for hit in hits:
            await self._make(hit, row, session)

    async def _make(self, hit: Hit, row: dict[str, Any], session: aiohttp.ClientSession) -> None:
        url = _at_front(hit.url, self.front_url)
        at = self.now_ms()
        status, location = None, None
        try:
            async with session.request(
                hit.method, url, headers=hit.headers, data=hit.body, allow_redirects=False
            ) as answer:
                status, location = answer.status, answer.headers.get("Location")
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, ValueError):
            pass  # the line below says that there was no answer
        self.counts[hit.kind if is_served(hit.kind, status) else "refused"] += 1
        line = {
            "at": at,
            "kind": hit.kind,
            "url": url,
            "to_hash": hash_of(row["to"][0]),
            "message_id": row["message_id"],
            "status": status,
            "location": location,
            "answered": status is not None,
        }
        self.log.write(json.dumps(line) + "\n")
        self.log.flush()


def hits_of(mail: ReadMail, intent: Intent) -> list[Hit]:
    """Return the requests for one mail, in the order in which a person makes them."""
    person = {"User-Agent": intent.agent, "Accept-Language": intent.language}
    hits: list[Hit] = []
    if intent.opens and mail.pixel is not None:
        hits.append(Hit(kind="opened", method="GET", url=mail.pixel, headers={**_PIXEL_HEADERS, **person}))
    link = intent.choose_link(mail.links)
    if intent.clicks and link is not None:
        hits.append(Hit(kind="clicked", method="GET", url=link, headers={**_PAGE_HEADERS, **person}))
    if intent.unsubscribes and mail.unsubscribe is not None:
        headers = {**person, "Content-Type": "application/x-www-form-urlencoded"}
        hits.append(Hit(kind="unsubscribed", method="POST", url=mail.unsubscribe, headers=headers, body=ONE_CLICK))
    return hits


def gateway_hits(mail: ReadMail) -> list[Hit]:
    """Return what a security gateway asks for: each address that it finds, hidden ones too, under a browser's name.

    It looks at the page to unsubscribe, too, but posts nothing (RFC 8058 section 3.2).
    """
    headers = {**_PAGE_HEADERS, "User-Agent": AGENTS[0]}
    found = [
        ("opened", mail.pixel),
        *(("clicked", url) for url in (*mail.hidden, *mail.links)),
        ("looked", mail.unsubscribe),
    ]
    return [Hit(kind=kind, method="GET", url=url, headers=headers) for kind, url in found if url is not None]


def is_served(kind: str, status: int | None) -> bool:
    """Tell whether the front took a hit: a redirect for a click, 2xx without redirect for the others."""
    if status is None:
        return False
    return status in _REDIRECTS if kind == "clicked" else 200 <= status < 300


def _at_front(url: str, front_url: str | None) -> str:
    if front_url is None:
        return url
    front = urlsplit(front_url)
    return urlunsplit(urlsplit(url)._replace(scheme=front.scheme, netloc=front.netloc))


async def _pause(stopped: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await stopped.wait()
    except TimeoutError:
        return


async def _finish(queue: asyncio.Queue[Mail], *, seconds: float) -> None:
    """Let the mails that are being read be read to the end, for at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await queue.join()
    except TimeoutError:
        return
