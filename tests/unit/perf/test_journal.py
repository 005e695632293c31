"""The accept log and its ring of raw messages: order, paging and bounds."""

from __future__ import annotations

import json

import pytest

from perf.providers.journal import Journal, RawRing
from perf.providers.pacing import Pacer

pytestmark = pytest.mark.unit


def seqs(journal: Journal, *, since: int = 0, limit: int | None = None) -> list[int]:
    """The numbers of the rows that the log yields."""
    return [json.loads(line)["seq"] for line in journal.lines(since=since, limit=limit)]


def test_rows_are_numbered_without_gaps_and_paged() -> None:
    """`since` is the last seq that the reader has; clearing does not restart the numbers."""
    journal = Journal()
    for number in range(5):
        journal.append({"n": number}, now_ms=7)
    assert seqs(journal) == [1, 2, 3, 4, 5]
    assert seqs(journal, since=3) == [4, 5]
    assert seqs(journal, since=1, limit=2) == [2, 3]
    assert seqs(journal, since=5) == []
    journal.clear()
    journal.append({}, now_ms=8)
    assert seqs(journal, since=2) == [6]


def test_a_full_log_drops_its_oldest_rows_and_says_so() -> None:
    """The log never holds more bytes than it may, and a reader of `dropped` knows that rows are missing."""
    journal = Journal(log_max_bytes=200)
    for number in range(20):
        message_id = f"m{number}"
        journal.append({"pad": "x" * 20}, now_ms=1, message_id=message_id)
        journal.locate(message_id, journal.keep(b"raw"))
    assert sum(map(len, journal.lines())) <= 200
    assert journal.dropped == 20 - len(journal)
    assert seqs(journal)[-1] == 20
    assert journal.find("m0") is None
    assert journal.find("m19") == (b"raw", 0)


def test_the_raw_ring_overwrites_its_oldest_bytes() -> None:
    """Old content is gone, never mixed with new content; content larger than the ring is not kept."""
    ring = RawRing(max_bytes=10)
    first = ring.put(b"aaaa")
    second = ring.put(b"bbbb")
    third = ring.put(b"cccc")
    assert [ring.get(place, 4) for place in (first, second, third)] == [None, b"bbbb", b"cccc"]
    assert ring.get(ring.put(b"d" * 11), 11) is None
    ring.close()


def test_a_hundred_thousand_mails_fit_by_far() -> None:
    """The log's default holds the rows of 100,000 mails without dropping one."""
    journal = Journal()
    for number in range(100_000):
        fields = {"to": [f"reader{number}@example.org"], "subject": "s" * 60, "tags": {"delivery": f"1-1-{number}"}}
        journal.append(fields, now_ms=1, message_id=str(number))
    assert len(journal) == 100_000
    assert journal.dropped == 0


def test_a_pacer_gives_its_rate_after_its_burst() -> None:
    """Ten a second with a burst of ten: ten at once, one more after 0.1 s, keys apart; 0 is no limit."""
    pacer = Pacer(10.0, burst=10.0)
    assert pacer.take("a", 15, now_s=0.0) == 10
    assert pacer.take("a", 1, now_s=0.05) == 0
    assert pacer.wait_s("a", now_s=0.05) == pytest.approx(0.05)
    assert pacer.take("a", 5, now_s=0.11) == 1
    assert pacer.take("b", 1, now_s=0.11) == 1
    assert pacer.remaining("b", now_s=0.11) == 9
    assert Pacer(0.0).take("a", 99, now_s=0.0) == 99
    assert Pacer(0.0).wait_s("a", now_s=0.0) == 0.0
