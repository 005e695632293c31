"""Judging: what a collector remembers of a delivery, for how long and how much, and what it keeps of a reader."""

import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.judging import BURST_MS, HONEYPOT_MS, SKEW_MS, SOON_MS, Judge, Memory, hit_of
from publishing.domain.links import HONEYPOT_LINK, ArticleLink, ReaderLink
from publishing.domain.tracking import TrackingPolicy
from publishing.domain.verdicts import FLAG_BURST, FLAG_HONEYPOT, FLAG_PRIVATE, FLAG_SOON, FLAG_UNLEARNED, Visitor
from publishing.runtime.settings import Settings, SettingsError
from schemas.messages import EngagementKind, NetworkClass, Verdict

pytestmark = pytest.mark.unit

NOW_MS = 1_770_000_000_000
BROWSER = b"Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
READER = ReaderLink(run_id=77, publication_id=12, channel_id=3, destination=41, sent_at_s=NOW_MS // 1_000 - 3_600)


def article(number: int, link: int = 1) -> ArticleLink:
    """A link of run 77."""
    return ArticleLink(run_id=77, content_id=number, link=link, url="https://example.org/")


HONEYPOT = article(0, HONEYPOT_LINK)


def judge(**changes: object) -> Judge:
    """A judge of an installation with these settings."""
    return Judge(Settings.model_validate(changes))


def browser(one: Judge, address: str = "203.0.113.9", **headers: bytes) -> Visitor:
    """A person's browser."""
    sent = {name.replace("_", "-").encode(): value for name, value in headers.items()}
    return one.visitor({b"user-agent": BROWSER, **sent}, address)


def test_the_fourth_link_in_ten_seconds_is_a_burst() -> None:
    """Three links are a reader's, the fourth distinct one within 10 s is a machine's, and so are those that follow."""
    one = judge()
    found = [one.hit(browser(one), READER, article(number), NOW_MS + number)[1] for number in range(6)]
    assert [bool(each.flags & FLAG_BURST) for each in found] == [False, False, False, True, True, True]
    assert [each.verdict for each in found] == [Verdict.HUMAN] * 3 + [Verdict.MACHINE] * 3
    assert found[3].rule == 11


def test_the_same_link_again_is_no_burst() -> None:
    """A reader who clicks one link ten times is impatient, not a machine."""
    one = judge()
    assert not any(one.hit(browser(one), READER, article(1), NOW_MS + number)[1].flags for number in range(10))


def test_a_burst_is_of_one_delivery() -> None:
    """Four readers who click, and four deliveries to one reader, are no burst."""
    one = judge()
    for number in range(8):
        other = READER._replace(destination=number + 1)
        assert one.hit(browser(one), other, article(number), NOW_MS)[1].flags == 0
        other = READER._replace(channel_id=number + 10)
        assert one.hit(browser(one), other, article(number), NOW_MS)[1].flags == 0


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4_000)), max_size=30))
def test_bursts_equal_a_model(clicks: list[tuple[int, int]]) -> None:
    """In order of time a hit is flagged when four distinct links were followed in less than 10 s, by a plain count."""
    memory, seen, now_ms = Memory(), [], NOW_MS
    for link, pause_ms in clicks:
        now_ms += pause_ms
        seen.append((link, now_ms))
        distinct = {one for one, at_ms in seen if now_ms - at_ms < BURST_MS}
        assert bool(memory.follow(1, (link, 1), now_ms)) == (len(distinct) >= 4)


def test_the_invisible_link_is_remembered_for_ten_minutes() -> None:
    """Who follows what no reader sees is a machine, with all it does to that delivery in the next 10 minutes."""
    one = judge()
    _, trapped = one.hit(browser(one), READER, HONEYPOT, NOW_MS)
    assert (trapped.verdict, trapped.rule, trapped.flags) == (Verdict.MACHINE, 10, FLAG_HONEYPOT)
    for after_ms, flags in ((1, FLAG_HONEYPOT), (HONEYPOT_MS - 1, FLAG_HONEYPOT), (HONEYPOT_MS, 0)):
        assert one.hit(browser(one), READER, None, NOW_MS + after_ms)[1].flags == flags
    other = READER._replace(destination=42)
    assert one.hit(browser(one), other, None, NOW_MS)[1].flags == 0


def test_a_gateway_that_also_unsubscribes() -> None:
    """The page to unsubscribe is one more link of a letter, and unsubscribing after the honeypot is a machine's."""
    one = judge()
    one.look(READER, NOW_MS)
    found = [one.hit(browser(one), READER, article(number), NOW_MS + number)[1].flags for number in (1, 2, 3)]
    assert found == [0, 0, FLAG_BURST]
    one.hit(browser(one), READER, HONEYPOT, NOW_MS + 5)
    assert one.leaving(browser(one), READER, NOW_MS + 6).verdict is Verdict.MACHINE
    assert judge().leaving(browser(one), READER, NOW_MS).verdict is Verdict.HUMAN


@pytest.mark.parametrize(
    ("after_ms", "is_soon"),
    [(-SKEW_MS - 1, False), (-SKEW_MS, True), (0, True), (SOON_MS - 1, True), (SOON_MS, False), (10**9, False)],
)
def test_too_soon_after_the_send(after_ms: int, is_soon: bool) -> None:  # noqa: FBT001  - a row of the table
    """Within 2 s of the send nobody has read; a send that lies far ahead is a clock that is wrong."""
    one = judge()
    reader = READER._replace(sent_at_s=NOW_MS // 1_000)
    _, found = one.hit(browser(one), reader, None, NOW_MS // 1_000 * 1_000 + after_ms)
    assert found.flags == (FLAG_SOON if is_soon else 0)
    assert found.verdict is (Verdict.MACHINE if is_soon else Verdict.HUMAN)


def test_a_link_without_a_time_is_never_soon() -> None:
    """A link of the first version says no time of its send."""
    one = judge()
    assert one.hit(browser(one), READER._replace(sent_at_s=0), None, 1)[1].flags == 0


def test_networks_are_evidence() -> None:
    """An address of a gateway is a machine under any name; a mail service's proxy is its reader."""
    one = judge()
    assert one.hit(browser(one, "40.107.22.1"), READER, None, NOW_MS)[1].rule == 2
    google = one.visitor({b"user-agent": b"Mozilla/5.0 (via ggpht.com GoogleImageProxy)"}, "66.249.84.1")
    assert one.hit(google, READER, None, NOW_MS)[1].verdict is Verdict.HUMAN
    apple = one.visitor({b"user-agent": b"Mozilla/5.0"}, "17.58.97.1")
    assert one.hit(apple, READER, None, NOW_MS)[1].verdict is Verdict.MACHINE


@pytest.mark.parametrize("letter", TrackingPolicy)
@pytest.mark.parametrize("installation", TrackingPolicy)
@pytest.mark.parametrize("is_private", [False, True])
def test_no_more_is_kept_than_allowed(letter: TrackingPolicy, installation: TrackingPolicy, is_private: bool) -> None:  # noqa: FBT001
    """The reader's number is kept when letter, installation and reader all allow it, whatever the evidence."""
    one = judge(tracking_policy=installation.name.lower())
    reader = READER._replace(policy=letter)
    least = min(letter, installation)
    visitor = browser(one, sec_gpc=b"1" if is_private else b"0")
    for number in range(5):
        destination, found = one.hit(visitor, reader, article(number), NOW_MS)
        assert destination == (41 if least >= TrackingPolicy.PSEUDONYMOUS and not is_private else 0)
        assert bool(found.flags & FLAG_PRIVATE) is is_private
        assert bool(found.flags & FLAG_UNLEARNED) is (least is TrackingPolicy.PSEUDONYMOUS and not is_private)
        if not destination:
            assert not found.flags & FLAG_BURST
    assert one.is_counted(reader) is (least is not TrackingPolicy.OFF)


def test_memory_is_bounded() -> None:
    """However many deliveries are hit, no more than the bound are remembered, the latest first."""
    memory = Memory(max_deliveries=100)
    for delivery, link in itertools.product(range(1_000), range(4)):
        memory.honeypot(delivery, NOW_MS)
        memory.follow(delivery, (link, 1), NOW_MS)
        assert len(memory) <= 200
    assert memory.trapped(999, NOW_MS) == FLAG_HONEYPOT
    assert memory.trapped(0, NOW_MS) == 0


def test_memory_forgets_by_itself() -> None:
    """What is older than a burst is dropped when others come, not only at the bound."""
    memory = Memory()
    for delivery in range(500):
        memory.follow(delivery, (1, 1), NOW_MS)
    memory.follow(1_000, (1, 1), NOW_MS + BURST_MS)
    assert len(memory) == 1


def test_a_hit_holds_what_the_link_said() -> None:
    """Each number of link and judgement is in its place, and the number that was withheld is not."""
    one = judge()
    judged = one.hit(browser(one, dnt=b"1"), READER, article(9, 2), NOW_MS)
    hit = hit_of(EngagementKind.CLICKED, NOW_MS, READER, judged, article(9, 2), event_id=bytes(16))
    assert (hit.run_id, hit.publication_id, hit.channel_id, hit.destination) == (77, 12, 3, 0)
    assert (hit.content_id, hit.link, hit.event_id, hit.judgement) == (9, 2, bytes(16), judged[1])


def test_an_installation_names_networks(tmp_path: Path) -> None:
    """A file of networks is read at the start; one that is missing or malformed names the variable and the line."""
    path = tmp_path / "networks"
    path.write_text("203.0.113.0/24 gateway\n")
    one = judge(networks_file=path)
    assert browser(one).network is NetworkClass.GATEWAY
    path.write_text("203.0.113.0/24\n")
    with pytest.raises(SettingsError, match="TIDEWIRE_NETWORKS_FILE: line 1"):
        judge(networks_file=path)
    path.write_bytes(b"\xff\xfe")
    for broken in (path, tmp_path / "missing"):
        with pytest.raises(SettingsError, match="TIDEWIRE_NETWORKS_FILE: cannot be read"):
            judge(networks_file=broken)
