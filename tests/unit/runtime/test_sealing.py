"""Sealed values: what opens, what does not, and how a key is replaced."""

import pytest

from publishing.domain.keys import KeyRing
from publishing.runtime.sealing import Sealer, SealError

pytestmark = pytest.mark.unit

OLD = ("old", bytes(32))
NEW = ("new", bytes(range(32)))


def test_what_is_sealed_opens_in_its_row_only() -> None:
    """A sealed address copied to another row does not open there (S19)."""
    sealer = Sealer(KeyRing((OLD,)))
    key = sealer.new_data_key(7)
    sealed = sealer.seal(key, 7, b"reader@example.org")
    assert sealer.open(key, 7, sealed) == b"reader@example.org"
    with pytest.raises(SealError):
        sealer.open(key, 8, sealed)
    with pytest.raises(SealError):
        sealer.open(sealer.new_data_key(8), 8, sealed)


@pytest.mark.parametrize("position", [0, 5, 12, -1])
def test_an_altered_byte_does_not_open(position: int) -> None:
    """Any flipped byte is noticed."""
    sealer = Sealer(KeyRing((OLD,)))
    key = sealer.new_data_key(7)
    sealed = bytearray(sealer.seal(key, 7, b"reader@example.org"))
    sealed[position] ^= 1
    with pytest.raises(SealError):
        sealer.open(key, 7, bytes(sealed))


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    """After a rotation old rows open, look-ups stay the same, and a ring without the old key opens nothing of it."""
    before = Sealer(KeyRing((OLD,)))
    key = before.new_data_key(7)
    sealed = before.seal(key, 7, b"x")
    rotated = Sealer(KeyRing((NEW, OLD)))
    assert rotated.open(key, 7, sealed) == b"x"
    assert rotated.new_data_key(9).startswith(b"new:")
    assert rotated.lookup("Reader@Example.org ") == before.lookup("reader@example.org")
    with pytest.raises(SealError):
        Sealer(KeyRing((NEW,))).open(key, 7, sealed)


@pytest.mark.parametrize("sealed", [b"", b"old", b"old:", b"old:short", b"\xff:abc"])
def test_a_malformed_config_is_refused(sealed: bytes) -> None:
    """Anything that seal_config did not make raises SealError and nothing else."""
    with pytest.raises(SealError):
        Sealer(KeyRing((OLD,))).open_config("channel/1", sealed)
