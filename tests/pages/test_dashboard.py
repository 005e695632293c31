"""The dashboard as a reader sees it: in a real browser, over a seeded database, with the real cache and broker."""

import asyncio
import datetime as dt
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from publishing.runtime.valkey import live_channel, open_valkey
from tests.pages.chromium import Page
from tests.pages.conftest import SHOTS, House, serving, sign_in

# One browser is enough, also where several workers run the suite.
pytestmark = [pytest.mark.pages, pytest.mark.xdist_group("pages")]

READING = (Path(__file__).parent / "reading.js").read_text(encoding="utf-8")
NARROW, WIDE = 390, 1440
DRAWN = "document.querySelector('.uplot canvas')"


async def complaints(page: Page) -> list[str]:
    """What the console said and the policy blocked."""
    blocked: list[str] = await page.evaluate("window.blocked")
    return page.complaints + blocked


async def shown(page: Page, selector: str) -> int:
    """The number that stands in an element."""
    return int((await page.text(selector)).replace("\u202f", ""))


async def steps(page: Page) -> dict[str, int]:
    """The funnel as it is shown."""
    names = ("planned", "accepted", "delivered", "opened", "clicked", "unsubscribed")
    return {name: await shown(page, f"#step-{name} .count") for name in names}


async def counted(pool: asyncpg.Pool, house: House, verdict: str, publication: int | None = None) -> dict[str, int]:
    """The same figures of the last seven days, by statements of the test's own."""
    end = house.now.replace(minute=0, second=0, microsecond=0) + dt.timedelta(hours=1)
    start = end - dt.timedelta(days=7)
    rows = await pool.fetch(
        "SELECT kind, sum(total) AS total, sum(uniques) FILTER (WHERE $3 = 'all' OR verdict = $3) AS readers"
        " FROM analytics.engagement_hour WHERE window_start >= $1 AND window_start < $2"
        " AND ($4::bigint IS NULL OR publication_id = $4) GROUP BY kind",
        start,
        end,
        verdict,
        publication,
    )
    found = {row["kind"]: row for row in rows}
    planned = await pool.fetchval(
        "SELECT sum(planned) FROM publishing_run_shards JOIN publishing_runs r ON r.id = run_id"
        " WHERE r.created_at >= $1 AND r.created_at < $2 AND ($3::bigint IS NULL OR r.publication_id = $3)",
        start,
        end,
        publication,
    )
    totals = {kind: int(found[kind]["total"]) if kind in found else 0 for kind in ("accepted", "delivered")}
    readers = {kind: int(found[kind]["readers"] or 0) for kind in ("opened", "clicked", "unsubscribed")}
    return {"planned": int(planned), **totals, **readers}


async def test_numbers_are_those_of_the_database(signed_in: Page, house: House, pool: asyncpg.Pool) -> None:
    """Funnel, channels, legend, table and runs show what SQL counts, for all publications and for one."""
    page = signed_in
    assert await steps(page) == await counted(pool, house, "human")
    email = [int(text.replace("\u202f", "")) for text in (await page.text("#channel-1")).split("\t")[1:3]]
    sums = "SELECT sum(total) FROM analytics.engagement_hour WHERE channel_id = 1 AND kind = ANY ($1)"
    assert email == [await pool.fetchval(sums, ["accepted"]), await pool.fetchval(sums, ["failed", "bounced"])]
    human = "SELECT sum(total) FROM analytics.engagement_hour WHERE kind = 'opened' AND verdict = 'human'"
    assert await shown(page, "#line-opened .value") == await pool.fetchval(human)
    assert (await page.text("#run-5")).replace("\u202f", "") == "Morning digest run 5\n1800 of 9000"
    await page.evaluate("document.getElementById('publication').value = '1'")
    await page.evaluate("document.getElementById('publication').dispatchEvent(new Event('change', {bubbles: true}))")
    await page.until("document.querySelector('h1').innerText.includes('Weekly briefing')")
    assert await steps(page) == await counted(pool, house, "human", 1)
    hottest = await pool.fetchrow("SELECT * FROM analytics.link_clicks WHERE verdict = 'human' ORDER BY total DESC")
    assert hottest is not None
    assert await shown(page, ".heat tbody tr:first-child .count") == hottest["total"]
    assert hottest["title"] in await page.text(".heat tbody tr:first-child")
    assert await page.evaluate("location.search.includes('publication=1')")


async def test_the_switch_works_by_keyboard_alone(signed_in: Page, house: House, pool: asyncpg.Pool) -> None:
    """Tab leads to the switch, a key turns it, the focus stays on it, and the address keeps the choice."""
    page = signed_in
    await page.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    for _ in range(30):
        if await page.evaluate("document.activeElement.id") == "verdict-machine":
            break
        await page.press("Tab")
    assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    await page.press(" ")
    pressed = "document.querySelector('#verdict-machine[aria-pressed=true]')"
    await page.until(f"{pressed} && document.activeElement.id === 'verdict-machine' && {DRAWN}")
    assert await steps(page) == await counted(pool, house, "machine")
    await page.go(await page.evaluate("location.href"))
    await page.until(pressed)
    await page.evaluate("document.getElementById('verdict-all').focus()")
    await page.press("Enter")
    await page.until("document.querySelector('#verdict-all[aria-pressed=true]')")
    assert await steps(page) == await counted(pool, house, "all")
    assert await complaints(page) == []


async def test_a_hint_refreshes_the_numbers_without_a_reload(
    signed_in: Page, house: House, pool: asyncpg.Pool, settings: Settings
) -> None:
    """What is counted while the page is open appears in it once a hint has come, and what was open stays open."""
    page = signed_in
    await page.until("document.getElementById('live').dataset.state === 'live'")
    await page.evaluate("window.sameDocument = true; document.querySelector('#course-table summary').click()")
    await asyncio.sleep(1)  # the refresh that follows a connection is over
    before = await steps(page)
    await pool.execute(
        "UPDATE publishing_analytics SET uniques = uniques + 11 WHERE kind = 'opened' AND verdict = 'human'"
        " AND window_start = (SELECT max(window_start) FROM publishing_analytics WHERE grain = 'hour'"
        " AND kind = 'opened' AND verdict = 'human') AND grain = 'hour' AND publication_id = 1"
    )
    async with open_valkey(settings) as valkey:
        hint = {"publications": [1], "watermark_ms": 0, "events": 11, "lag": None}
        await valkey.publish(live_channel(settings), json.dumps(hint))
    opened = before["opened"] + 11
    await page.until(f"document.querySelector('#step-opened .count').innerText.replace(/\\D/g, '') === '{opened}'")
    assert await page.evaluate("window.sameDocument")
    assert await page.evaluate("document.getElementById('course-table').open")
    await page.until("document.getElementById('last-hint').innerText.includes('11 events')")
    assert await complaints(page) == []


async def test_every_control_works_under_the_strict_policy(signed_in: Page, house: House, pool: asyncpg.Pool) -> None:
    """Periods, grains, dates and lines work; a publication's name is text; nothing is blocked, nothing complains."""
    page = signed_in
    name = "<img src=x onerror=alert(1)> & <b>news</b>"
    await pool.execute("UPDATE publishing_publications SET name = $1 WHERE id = 1", name)
    for button, sign in (("period-day", "24 hours"), ("grain-minute", "Minute"), ("period-month", "30 days")):
        await page.evaluate(f"document.getElementById('{button}').click()")
        await page.until(f"document.querySelector('#{button}[aria-pressed=true]')")
        assert await page.text(f"#{button}") == sign
    await page.evaluate("document.getElementById('publication').value = '1'")
    await page.evaluate("document.getElementById('publication').dispatchEvent(new Event('change', {bubbles: true}))")
    await page.until("document.querySelector('h1 .of')")
    assert await page.text("h1") == f"Engagement of {name}"
    await page.evaluate("document.querySelector('#dates summary').click()")
    await page.evaluate(f"document.getElementById('from').value = '{house.now.date() - dt.timedelta(days=2)}'")
    await page.evaluate("document.getElementById('dates-show').click()")
    await page.until("location.search.includes('from=') && document.getElementById('dates').open")
    await page.until(DRAWN)
    await page.evaluate("document.getElementById('line-opened').click()")
    assert await page.evaluate("document.getElementById('line-opened').getAttribute('aria-pressed')") == "false"
    assert await complaints(page) == []


def _is_sound(reading: dict[str, Any]) -> None:
    assert reading["weak"] == []
    assert min(reading["lines"]) >= 3  # WCAG 2.2, 1.4.11
    assert reading["unnamed"] == []
    assert reading["small"] == []  # WCAG 2.2, 2.5.8
    assert reading["landmarks"] == [1, 1, 1, 1]
    assert (reading["uncaptioned"], reading["unheaded"], reading["inline"]) == (0, 0, 0)
    assert reading["twice"] == []
    assert reading["headings"] == [1, *[2] * (len(reading["headings"]) - 1)]
    assert reading["language"] == "en"
    assert reading["overflow"] <= 0


async def test_it_looks_right_at_every_width_in_both_schemes(signed_in: Page, house: House) -> None:
    """At 390 and 1440 px, light and dark: nothing scrolls sideways, contrasts hold, all is named; pictures are kept."""
    page = signed_in
    grounds = {}
    for width in (NARROW, WIDE):
        for scheme in ("light", "dark"):
            await page.look(width=width, scheme=scheme)
            await page.go(f"{house.url}/dashboard")
            await page.until(f"{DRAWN} && document.getElementById('live').dataset.state === 'live'")
            await page.screenshot(SHOTS / f"dashboard-{width}-{scheme}.png")
            reading = await page.evaluate(READING)
            _is_sound(reading)
            grounds[scheme] = reading["background"]
    assert grounds["light"] != grounds["dark"]
    assert await complaints(page) == []


async def test_a_session_begins_and_ends_with_its_token(page: Page, house: House) -> None:
    """A wrong token is refused in words, a good one opens, no script can read it, and signing out ends it."""
    await page.look(width=NARROW)
    await page.go(f"{house.url}/dashboard")
    await page.screenshot(SHOTS / f"sign-in-{NARROW}.png")
    await page.evaluate("document.getElementById('token').value = 'nonsense'; document.forms[0].submit()")
    await page.until("document.getElementById('refused')")
    assert "not valid" in await page.text("#refused")
    page.complaints.clear()  # the browser notes the 401
    await sign_in(page, house.url, house.token())
    assert await page.evaluate("document.cookie") == ""
    cookies = (await page.send("Network.getCookies"))["cookies"]
    assert [(one["name"], one["httpOnly"], one["sameSite"], one["path"]) for one in cookies] == [
        ("tidewire_session", True, "Strict", "/")
    ]
    await page.evaluate("document.querySelector('.top form button').click()")
    await page.until("document.getElementById('token')")
    assert (await page.send("Network.getCookies"))["cookies"] == []
    assert await complaints(page) == []


async def test_nothing_yet_and_nothing_there_are_said_in_words(
    page: Page, browser: str, settings: Settings, pool: asyncpg.Pool
) -> None:
    """An empty installation invites, one without its database and cache says so, and neither looks broken."""
    await page.look(width=WIDE)
    async for url in serving(settings):
        await sign_in(page, url, House(url, settings, utc_now()).token())
        assert "Nothing was planned or sent" in await page.text(".funnel")
        assert "Nothing is being sent" in await page.text(".runs")
        await page.screenshot(SHOTS / f"empty-{WIDE}.png")
        _is_sound(await page.evaluate(READING))
        assert await complaints(page) == []
    away = {"database_url": "postgresql://a@127.0.0.1:1/a", "redis_url": "redis://127.0.0.1:1/0"}
    stranded = settings.model_copy(update=away)
    async for url in serving(stranded):
        await page.go(f"{url}/dashboard")  # cookies know no ports: the session holds here too
        assert "The database does not answer" in await page.text(".trouble")
        await page.until("document.getElementById('live').dataset.state === 'away'")
        await page.screenshot(SHOTS / f"away-{WIDE}.png")
        _is_sound(await page.evaluate(READING))
