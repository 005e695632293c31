"""Rings of keys: what is accepted, what is refused, and that no key is ever shown."""

import base64

import pytest

from publishing.domain.keys import KeyRingError, parse_key_ring
from publishing.domain.shards import shard_of

pytestmark = pytest.mark.unit

GOOD = base64.b64encode(bytes(32)).decode()
OTHER = base64.b64encode(bytes(range(32))).decode()


def test_the_first_key_signs_and_all_are_found() -> None:
    """The order of the setting is the order of the ring."""
    ring = parse_key_ring(f"new:{GOOD}, old:{OTHER}")
    assert ring.current == ("new", bytes(32))
    assert ring.find("old") == bytes(range(32))
    assert ring.find("other") is None


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 1, "no kid"),
        (GOOD, 1, "no kid"),
        (f"k:{GOOD},", 2, "no kid"),
        (f"é:{GOOD}", 1, "no kid"),
        (f"{'k' * 33}:{GOOD}", 1, "no kid"),
        (f"k:{GOOD},k:{OTHER}", 2, "taken"),
        ("k:%%%", 1, "not base64"),
        (f"k:{base64.b64encode(bytes(31)).decode()}", 1, "shorter than 32 bytes"),
    ],
)
def test_a_wrong_ring_is_refused_by_its_position(text: str, position: int, reason: str) -> None:
    """The error says which key is wrong and why, and never shows it."""
    with pytest.raises(KeyRingError, match=reason) as caught:
        parse_key_ring(text)
    assert caught.value.position == position
    assert GOOD not in str(caught.value)


def test_a_ring_never_shows_its_keys() -> None:
    """A repr that reaches a log holds ids only."""
    assert repr(parse_key_ring(f"new:{GOOD},old:{OTHER}")) == "KeyRing(new, old)"


def test_a_destination_stays_in_its_shard() -> None:
    """The shard is the number modulo the shards, so neighbours spread evenly."""
    assert [shard_of(number, 4) for number in range(1, 9)] == [1, 2, 3, 0, 1, 2, 3, 0]
