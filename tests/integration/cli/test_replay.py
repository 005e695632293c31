"""Recounts against what the engagement app has written, on a real broker and a real database."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from typer.testing import CliRunner, Result

from publishing.cli.main import app
from publishing.cli.replaying.recounting import NewRules, Outcome, check, rebuild
from publishing.domain.verdict_rules import RULES, RULES_VERSION, as_json
from publishing.runtime.clock import now_ms
from publishing.runtime.producer import full_name, open_producer
from publishing.runtime.settings import PREFIX, Settings
from publishing.stores.offsets import Pool
from publishing.stores.replays import ReplayRunningError, open_replays
from schemas.frames import AGENT_INDEX, KIND_INDEX, NETWORK_INDEX, VERDICT_INDEX, encode_frame, new_events
from schemas.messages import AgentFamily, EngagementKind, NetworkClass, Verdict
from tests.fakes.streams_worker import eventually, stream_worker
from topics.catalog import ENGAGEMENT_RECORDED

pytestmark = pytest.mark.integration

DAY_MS = 86_400_000
WORKER = ("-m", "streams.engagement")
OPENED, CLICKED = KIND_INDEX[EngagementKind.OPENED], KIND_INDEX[EngagementKind.CLICKED]
HUMAN, MACHINE = VERDICT_INDEX[Verdict.HUMAN], VERDICT_INDEX[Verdict.MACHINE]
BROWSER, BOT = AGENT_INDEX[AgentFamily.BROWSER], AGENT_INDEX[AgentFamily.BOT]
MakeTopics = Callable[..., Awaitable[None]]
Tidewire = Callable[..., Awaitable[Result]]
Row = dict[str, Any]


@pytest.fixture
def tidewire(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Tidewire:
    """Run `tidewire` with this test's settings, and give what it printed and how it ended."""
    for field in ("kafka_bootstrap_servers", "database_url", "redis_url", "topic_prefix", "audience_shards"):
        monkeypatch.setenv(PREFIX + field.upper(), str(getattr(settings, field)))

    async def run(*arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, app, arguments)

    return run


class Installation:
    """A log that is produced to, and the tables that a worker has filled from it."""

    def __init__(self, settings: Settings, pool: Pool, producer: AIOKafkaProducer, environment: dict[str, str]) -> None:
        self.settings = settings
        self.pool = pool
        self.environment = environment
        self._producer = producer
        self.produced = 0

    async def produce(
        self, rows: Sequence[Row], *, partition: int = 0, recorded_ms: int | None = None, number: str | None = None
    ) -> None:
        """Append a frame of events; `number` makes it one of the ledger."""
        at_ms = now_ms() if recorded_ms is None else recorded_ms
        events = new_events(len(rows))
        for place, row in enumerate(rows):
            events["occurred_at"][place] = at_ms
            for name, value in row.items():
                events[name][place] = value
        await self.append(encode_frame("tests", at_ms, events), partition=partition, number=number)

    async def append(self, value: bytes, *, partition: int = 0, number: str | None = None) -> None:
        """Append a record."""
        headers = [] if number is None else [("ce_source", b"tidewire/ledger"), ("ce_id", number.encode())]
        topic = full_name(self.settings, ENGAGEMENT_RECORDED)
        await self._producer.send(topic, value, partition=partition, headers=headers)
        self.produced += 1

    async def applied(self) -> None:
        """Let a worker apply everything."""
        await self._producer.flush()
        async with stream_worker(WORKER, self.environment):
            await self.caught_up()

    async def caught_up(self) -> None:
        """Wait until everything produced is applied."""
        await self._producer.flush()
        sql = "SELECT coalesce(sum(next_offset), 0) FROM stream_offsets WHERE consumer = 'engagement'"

        async def is_applied() -> bool:
            return int(await self.pool.fetchval(sql)) == self.produced

        await eventually(is_applied, what="the log is applied")

    async def is_counting(self) -> bool:
        """Whether some events are counted."""
        return bool(
            await self.pool.fetchval(
                "SELECT coalesce(sum(total), 0) > 900 FROM publishing_analytics WHERE grain = 'day'"
            )
        )

    async def check(self, rules: NewRules | None = None) -> Outcome:
        """Compare."""
        return await check(self.settings, self.pool, rules)

    async def rebuild(self, rules: NewRules | None = None) -> Outcome:
        """Recount and swap in."""
        return await rebuild(self.settings, self.pool, rules)

    async def split(self) -> dict[tuple[str, str], tuple[int, int]]:
        """Total and uniques of the day's windows by kind and verdict, without emptied ones."""
        sql = (
            "SELECT kind, verdict, sum(total)::int, sum(uniques)::int FROM publishing_analytics"
            " WHERE grain = 'day' GROUP BY 1, 2 HAVING sum(total) > 0"
        )
        return {(row[0], row[1]): (row[2], row[3]) for row in await self.pool.fetch(sql)}


@pytest.fixture
async def installation(
    settings: Settings, pool: Pool, environment: dict[str, str], make_topics: MakeTopics
) -> AsyncIterator[Installation]:
    """An installation with its topic."""
    await make_topics(ENGAGEMENT_RECORDED)
    async with open_producer(settings) as producer:
        yield Installation(settings, pool, producer, environment)


def hit(destination: int, **fields: Any) -> Row:
    """A human open that a rule has judged."""
    return {
        "kind": OPENED, "verdict": HUMAN, "rule": 8, "agent": BROWSER, "run_id": 1, "publication_id": 1,
        "channel_id": 1, "destination": destination,
    } | fields  # fmt: skip


async def produce_everything(installation: Installation) -> None:
    """A log with late, clamped, repeated and anonymous events, receipts sent twice, heartbeats and poison."""
    now = now_ms()
    for partition in range(installation.settings.audience_shards):
        destination = 8 + partition
        await installation.produce(
            [hit(destination), hit(destination, kind=CLICKED, verdict=MACHINE)], partition=partition
        )
        for _ in range(2):
            receipts = [{"kind": KIND_INDEX[EngagementKind.ACCEPTED], "destination": destination, "run_id": 1}]
            await installation.produce(receipts, partition=partition, number=f"r{partition}")
            outside = {"flags": 1, "event_id": list(bytes([partition]) * 16), "kind": CLICKED}
            await installation.produce([hit(destination, **outside)], partition=partition)
        await installation.produce([hit(0), hit(0)], partition=partition)
        await installation.produce([], partition=partition, recorded_ms=now + 3_600_000)
        late = [hit(destination + 4, occurred_at=now - 7_200_000), hit(destination, occurred_at=now - 90_000_000)]
        await installation.produce(late, partition=partition)
        clamped = [hit(destination, occurred_at=0), hit(destination, occurred_at=now + 40 * DAY_MS)]
        await installation.produce(clamped, partition=partition)
        await installation.append(b"\x00no frame", partition=partition)


async def test_a_recount_of_everything_is_equal(installation: Installation, tidewire: Tidewire) -> None:
    """Whatever the log holds, the live tables are what an independent reader makes of it: exit 0."""
    await produce_everything(installation)
    await installation.applied()
    answer = await tidewire("replay", "engagement", "--check", "--json")
    found = json.loads(answer.stdout)
    assert (answer.exit_code, found["equal"], found["differences"]) == (0, True, [])
    assert (found["events"], found["poison"]) == (4 * (2 + 1 + 1 + 2 + 4), 4)
    assert found["partitions"] == {str(number): 10 for number in range(4)}
    covered = await installation.pool.fetchval(f"SELECT count(*) FROM publishing_analytics WHERE {COVERED}")  # noqa: S608
    assert found["cells"] == covered


# Minutes of a month ago may be dropped at any time.
COVERED = "(grain <> 'minute' OR window_start > now() - interval '5 days')"
TAMPERINGS = {
    "a total": "UPDATE publishing_analytics SET total = total + 1 WHERE grain = 'hour' AND kind = 'opened'",
    "uniques": "UPDATE publishing_analytics SET uniques = 0 WHERE grain = 'day' AND uniques > 0",
    "late": "UPDATE publishing_analytics SET late = late + 1 WHERE grain = 'hour'",
    "a time": "UPDATE publishing_analytics SET last_at = last_at + interval '1 millisecond' WHERE grain = 'day'",
    "a missing cell": "DELETE FROM publishing_analytics WHERE grain = 'minute' AND kind = 'clicked'",
    "a cell too many": "INSERT INTO publishing_analytics SELECT grain, window_start, 99, run_id, channel_id, arm, kind,"
    " verdict, total, uniques, late, revision, first_at, last_at FROM publishing_analytics WHERE grain = 'day'",
}


async def test_what_was_tampered_with_is_found_and_repaired(installation: Installation, tidewire: Tidewire) -> None:
    """Every measure and every key is compared; a rebuild makes them equal, and says so by the revision."""
    await produce_everything(installation)
    await installation.applied()
    before = await installation.pool.fetchval("SELECT sum(revision) FROM publishing_analytics")
    for sql in TAMPERINGS.values():
        changed = int((await installation.pool.execute(sql)).rsplit(" ", 1)[1])
        answer = await tidewire("replay", "engagement", "--check")
        assert changed > 0
        assert answer.exit_code == 1, sql
        assert f"{changed} cells differ" in answer.stdout
        rebuilt = json.loads((await tidewire("replay", "engagement", "--rebuild", "--json")).stdout)
        assert rebuilt["changed_cells"] == changed
        assert (await tidewire("replay", "engagement", "--check")).exit_code == 0
    assert await installation.pool.fetchval("SELECT sum(revision) FROM publishing_analytics") > before
    assert await installation.pool.fetchval("SELECT count(*) FROM publishing_audit WHERE actor = 'cli'") == len(
        TAMPERINGS
    )


async def test_first_touches_are_rebuilt(installation: Installation) -> None:
    """Rows of publishing_engaged that were lost, added or moved come back, and later touches are no first ones."""
    await installation.produce([hit(4), hit(8)])
    await installation.applied()
    sql = "SELECT destination, first_at FROM publishing_engaged ORDER BY destination"
    before = await installation.pool.fetch(sql)
    await installation.pool.execute("UPDATE publishing_engaged SET destination = 12 WHERE destination = 8")
    await installation.pool.execute("UPDATE publishing_engaged SET first_at = first_at - interval '1 hour'")
    assert (await installation.rebuild()).touches == 3
    assert await installation.pool.fetch(sql) == before
    await installation.produce([hit(8)])
    await installation.applied()
    assert (await installation.check()).is_equal


def rules_since(at_ms: int, **changes: Any) -> NewRules:
    """Today's rules, with a change to the rule for browsers, since the UTC day of a time."""
    rules = [rule | changes if rule["number"] == 8 else rule for rule in as_json(RULES)]
    return NewRules(RULES_VERSION + 1, rules, at_ms // DAY_MS * DAY_MS)


async def test_verdicts_are_replayed_as_computed_by_hand(installation: Installation) -> None:
    """Judged events since the day change sides with their uniques, older days and receipts stay, new events too."""
    now = now_ms()
    await installation.produce(
        [
            hit(4), hit(4), hit(4, agent=BOT), hit(8, occurred_at=now - 3 * DAY_MS), hit(12, kind=CLICKED),
            {"kind": OPENED, "verdict": HUMAN, "destination": 16},
        ]
    )  # fmt: skip
    await installation.applied()
    assert await installation.split() == {("opened", "human"): (5, 3), ("clicked", "human"): (1, 1)}
    rules = rules_since(now, verdict="machine")
    expected = {
        ("opened", "human"): (2, 2), ("opened", "machine"): (3, 1), ("clicked", "machine"): (1, 1),
    }  # fmt: skip

    dry = await installation.check(rules)
    replayed = await installation.rebuild(rules)
    assert (dry.different, replayed.different) == (12, 12)
    assert await installation.split() == expected
    assert (await installation.check()).is_equal
    revisions = await installation.pool.fetch("SELECT DISTINCT revision FROM publishing_analytics WHERE total = 0")
    assert [row[0] for row in revisions] == [1]
    again = await installation.rebuild(rules)
    assert (again.different, again.touches, again.replay_id) == (0, 0, None)

    await installation.produce([hit(4), hit(20, kind=CLICKED)])
    await installation.applied()
    expected[("opened", "human")], expected[("clicked", "human")] = (3, 3), (1, 1)
    assert await installation.split() == expected
    assert (await installation.check()).is_equal
    stored = await installation.pool.fetchrow("SELECT * FROM publishing_verdict_replays")
    assert stored is not None
    assert (stored["next_offsets"], stored["changed_cells"]) == ({"0": 1, "1": 0, "2": 0, "3": 0}, 12)


async def test_the_command_replays_todays_rules(installation: Installation, tidewire: Tidewire) -> None:
    """A dry run changes nothing; then what was judged wrong is put right; a second time nothing is left to do."""
    gateway = NETWORK_INDEX[NetworkClass.GATEWAY]
    await installation.produce([hit(4, network=gateway), hit(8)])
    await installation.applied()
    today = datetime.now(UTC).date().isoformat()  # noqa: TID251  - the command's own argument
    dry = json.loads((await tidewire("verdicts", "replay", "--since", today, "--dry-run", "--json")).stdout)
    assert (dry["equal"], dry["different"], dry["since"]) == (False, 6, f"{today}T00:00:00+00:00")
    assert await installation.split() == {("opened", "human"): (2, 2)}
    first = await tidewire("verdicts", "replay", "--since", f"{today}T00:00:00", "--json")
    assert (first.exit_code, json.loads(first.stdout)["changed_cells"]) == (0, 6)
    assert await installation.split() == {("opened", "human"): (1, 1), ("opened", "machine"): (1, 1)}
    second = await tidewire("verdicts", "replay", "--since", today)
    assert f"rules {RULES_VERSION} since {today} UTC: changed 0 cells" in second.stdout
    assert (await tidewire("replay", "engagement", "--check")).exit_code == 0


async def test_replays_under_traffic_are_exact(installation: Installation) -> None:
    """Checks, rebuilds and a verdict replay beside a worker that counts: nothing is lost, and the end is equal."""
    ended = asyncio.Event()

    async def produce() -> None:
        number = 0
        while not ended.is_set():
            number += 1
            rows = [hit(4 * (1 + number % 40) + number % 4, kind=OPENED + place % 2) for place in range(20)]
            await installation.produce(rows, partition=number % 4)
            await asyncio.sleep(0.005)

    async with stream_worker(WORKER, installation.environment):
        traffic = asyncio.create_task(produce())
        await eventually(installation.is_counting, what="the worker counts")
        assert (await installation.check()).is_equal
        await installation.pool.execute("UPDATE publishing_analytics SET total = total + 7")
        rebuilt = await installation.rebuild()
        assert rebuilt.different > 0
        assert (await installation.check()).is_equal
        judged = await installation.rebuild(rules_since(now_ms(), verdict="machine"))
        assert judged.different > 0
        assert (await installation.check()).is_equal
        ended.set()
        await traffic
        await installation.caught_up()
    last = await installation.check()
    assert last.is_equal
    assert max(rebuilt.locked_s, judged.locked_s) < 5
    assert sum(last.partitions.values()) == installation.produced


async def test_one_replay_at_a_time(installation: Installation) -> None:
    """A second one is refused: they would share the schema `replay`."""
    async with open_replays(installation.pool, "engagement", ENGAGEMENT_RECORDED.name):
        with pytest.raises(ReplayRunningError):
            await installation.check()
    assert (await installation.check()).is_equal


async def test_usage_is_told(tidewire: Tidewire) -> None:
    """Neither or both of --check and --rebuild end with 2; a topic that is not there with 1 and one line."""
    assert (await tidewire("replay", "engagement")).exit_code == 2
    answer = await tidewire("replay", "engagement", "--check")
    assert answer.exit_code == 1
    assert len(answer.stderr.splitlines()) == 1
