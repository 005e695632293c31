"""The dashboard over HTTP: its session, its parts, its files, and what it sends along."""

import dataclasses
import datetime as dt

import asyncpg
import pytest

from ingest_api.dashboard import assets, pages
from publishing.domain.windows import Grain
from publishing.runtime.clock import utc_now
from publishing.runtime.settings import Settings
from publishing.stores import dashboard
from tests.integration.ingest_api.conftest import Api, make_token, serve

pytestmark = pytest.mark.integration

FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTS = ("/dashboard/view", "/dashboard/panels")


async def signed_in(api: Api, role: str = "reader") -> dict[str, str]:
    """The header of a session that was begun by the form."""
    token = make_token(api.settings, role)
    answer = await api.client.post("/dashboard/session", content=f"token={token}", headers=FORM)
    assert (answer.status_code, answer.headers["location"]) == (303, "/dashboard")
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly; SameSite=Strict" in cookie
    api.client.cookies.clear()
    return {"Cookie": cookie.partition(";")[0]}


async def test_without_a_session_there_is_a_form_and_nothing_else(bare_api: Api) -> None:
    """The page asks for a token, its parts are 401 and make the browser load the page anew."""
    page = await bare_api.client.get("/dashboard")
    assert page.status_code == 200
    assert 'action="/dashboard/session"' in page.text
    assert 'id="panels"' not in page.text
    for path in PARTS:
        answer = await bare_api.client.get(path, headers={"Cookie": "tidewire_session=x"})
        assert (answer.status_code, answer.headers["hx-refresh"], answer.text) == (401, "true", "")


async def test_a_session_needs_a_valid_token_from_our_own_page(bare_api: Api) -> None:
    """A wrong or expired token is 401 in words, and a request from another site 403."""
    expired = make_token(bare_api.settings, "reader", exp=1)
    for token in ("", "nonsense", expired):
        answer = await bare_api.client.post("/dashboard/session", content=f"token={token}", headers=FORM)
        assert answer.status_code == 401
        assert "not valid here" in answer.text
        assert "set-cookie" not in answer.headers
    foreign = FORM | {"Sec-Fetch-Site": "cross-site"}
    for path in ("/dashboard/session", "/dashboard/session/end"):
        assert (await bare_api.client.post(path, content="token=x", headers=foreign)).status_code == 403


async def test_every_page_carries_the_strict_policy(bare_api: Api) -> None:
    """Page, parts and form allow nothing inline and nothing foreign, are kept by no cache, and hold no inline code."""
    session = await signed_in(bare_api)
    for path in ("/dashboard", *PARTS):
        answer = await bare_api.client.get(path, headers=session)
        assert answer.status_code == 200
        for name, value in pages.SECURITY_HEADERS.items():
            assert answer.headers[name] == value
        assert " style=" not in answer.text
        assert "<style" not in answer.text
    assert "unsafe" not in pages.SECURITY_HEADERS["Content-Security-Policy"]
    ended = await bare_api.client.post("/dashboard/session/end", headers=session)
    assert "tidewire_session=; Max-Age=0" in ended.headers["set-cookie"]


async def test_a_view_shows_what_was_counted_and_its_address(bare_api: Api, pool: asyncpg.Pool) -> None:
    """Figures are those of the windows, names are escaped, and the browser's address follows the view."""
    now = utc_now()
    hour = now.replace(minute=0, second=0, microsecond=0)
    await pool.execute(
        "INSERT INTO publishing_publications (name, status, definition, created_by)"
        " VALUES ('<b>Bold</b>', 'running', '{\"trigger\": {\"kind\": \"at\"}}', 'tests')"
    )
    rows = [
        (hour, "opened", "human", 1_234, 987),
        (hour, "opened", "machine", 55, 44),
        (hour, "accepted", "unknown", 5_000, 0),
    ]
    await pool.executemany(
        "INSERT INTO publishing_analytics VALUES ('hour', $1, 1, 1, 1, 0, $2, $3, $4, $5, 0, 0, $1, $1)", rows
    )
    await pool.execute("INSERT INTO publishing_watermarks VALUES ('engagement', 0, $1)", now - dt.timedelta(minutes=6))
    session = await signed_in(bare_api)
    answer = await bare_api.client.get("/dashboard/view?verdict=human&publication=1&grain=hour", headers=session)
    assert "987" in answer.text
    assert "1\u202f234" in answer.text
    assert "6 min" in answer.text
    assert "&lt;b&gt;Bold&lt;/b&gt;" in answer.text
    assert "<b>Bold" not in answer.text
    assert answer.headers["hx-replace-url"] == "/dashboard?period=week&verdict=human&grain=hour&publication=1"
    machine = await bare_api.client.get("/dashboard/panels?verdict=machine", headers=session)
    assert ">44<" in machine.text
    assert ">987<" not in machine.text


async def test_one_reading_gives_the_sums_of_channels_and_of_windows(pool: asyncpg.Pool) -> None:
    """Both add up to the period's windows: its borders, its grain and one publication narrow them, no channel does."""
    start = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    hour = dt.timedelta(hours=1)
    await pool.execute("INSERT INTO publishing_channels (kind, name, config_sealed) VALUES ('email', 'f', '')")
    rows = [
        ("hour", start, 1, 1, "opened", "human", 1),
        ("hour", start + hour, 1, 8, "opened", "human", 2),
        ("hour", start + hour, 2, 1, "opened", "machine", 4),
        ("hour", start - hour, 1, 1, "opened", "human", 8),
        ("hour", start + 2 * hour, 1, 1, "opened", "human", 16),
        ("day", start, 1, 1, "opened", "human", 32),
    ]
    await pool.executemany(
        "INSERT INTO publishing_analytics VALUES ($1, $2, $3, 1, $4, 0, $5, $6, $7, $7, 0, 0, $2, $2)", rows
    )
    span = dashboard.Span(grain=Grain.HOUR, starts_at=start, ends_at=start + 2 * hour)
    for one, machine in ((span, 4), (dataclasses.replace(span, publication_id=1), 0)):
        cells = await dashboard.cells(pool, one)
        named = {("f", "human"): 1, (None, "human"): 2, ("f", "machine"): machine}
        assert {(row["name"], row["verdict"]): row["total"] for row in cells.channels} == {
            key: total for key, total in named.items() if total
        }
        by_window = {(start, "human"): 1, (start + hour, "human"): 2, (start + hour, "machine"): machine}
        assert {(row["window_start"], row["verdict"]): row["uniques"] for row in cells.windows} == {
            key: total for key, total in by_window.items() if total
        }


async def test_files_are_kept_for_good_and_nothing_else_is_served(bare_api: Api) -> None:
    """An asset has its type and a year; another digest, a licence or a path out of the folder is 404."""
    for asset in assets.ASSETS.values():
        answer = await bare_api.client.get(asset.url)
        assert (answer.status_code, answer.content) == (200, asset.body)
        assert answer.headers["content-type"] == asset.content_type
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["x-content-type-options"] == "nosniff"
    wrong = ("0" * 12 + "/dashboard.css", "vendor/README.md", "%2e%2e/pages.py", "x/../../pages.py")
    for name in wrong:
        assert (await bare_api.client.get(f"{assets.PREFIX}/{name}")).status_code == 404


async def test_without_services_it_is_said_in_words(settings: Settings) -> None:
    """With database, broker and cache away the page comes in time and says what does not answer."""
    away = {"kafka_bootstrap_servers": "127.0.0.1:1", "database_url": "postgresql://a@127.0.0.1:1/a"}
    async for api in serve(settings.model_copy(update=away | {"redis_url": "redis://127.0.0.1:1/0"})):
        session = await signed_in(api)
        for path in ("/dashboard", *PARTS):
            answer = await api.client.get(path, headers=session)
            assert answer.status_code == 200
            assert "The database does not answer" in answer.text


async def test_without_brokers_the_figures_stay(settings: Settings, pool: asyncpg.Pool) -> None:
    """With the brokers away lag and dead letters are said to be unknown, and everything else is shown."""
    await pool.execute("INSERT INTO stream_offsets (consumer, topic, partition, next_offset) VALUES ('c', 't', 0, 3)")
    async for api in serve(settings.model_copy(update={"kafka_bootstrap_servers": "127.0.0.1:1"})):
        answer = await api.client.get("/dashboard/panels", headers=await signed_in(api))
        assert answer.text.count("brokers away") == 2
        assert ">unknown<" in answer.text
        assert "Runs in progress" in answer.text
