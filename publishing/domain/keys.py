"""Rings of named secret keys: the first signs or seals, all of them verify or open."""

import base64
import binascii
from dataclasses import dataclass, field

# A key shorter than the MAC it makes (RFC 2104, section 3) weakens it.
MIN_KEY_BYTES = 32
MAX_KEY_ID = 32


class KeyRingError(ValueError):
    """A key ring is `kid:base64,...`, each key 32 bytes or more: make one with `openssl rand -base64 32`."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"{self.__doc__} (key {position}: {reason})")
        self.position = position
        self.reason = reason


@dataclass(frozen=True, slots=True, repr=False)
class KeyRing:
    """Keys by id in the order in which they were given; the repr shows the ids alone."""

    keys: tuple[tuple[str, bytes], ...]
    _by_id: dict[str, bytes] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        """Lay the keys out by id: each token and each sealed value asks for one; the first of an id is the one."""
        object.__setattr__(self, "_by_id", dict(reversed(self.keys)))

    @property
    def current(self) -> tuple[str, bytes]:
        """The id and the bytes of the key that signs or seals."""
        return self.keys[0]

    def find(self, kid: str) -> bytes | None:
        """The key with this id, or None when the ring does not hold it."""
        return self._by_id.get(kid)

    def __repr__(self) -> str:
        return f"KeyRing({', '.join(name for name, _ in self.keys)})"


def parse_key_ring(text: str) -> KeyRing:
    """Read `kid:base64,...`; raises KeyRingError, which never shows a key."""
    keys: list[tuple[str, bytes]] = []
    for position, part in enumerate(text.split(","), start=1):
        kid, separator, encoded = part.strip().partition(":")
        if not separator or not kid.isalnum() or not kid.isascii() or len(kid) > MAX_KEY_ID:
            raise KeyRingError(position, "no kid of letters and digits before the colon")
        if kid in dict(keys):
            raise KeyRingError(position, "its kid is taken")
        try:
            key = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            raise KeyRingError(position, "not base64") from error
        if len(key) < MIN_KEY_BYTES:
            raise KeyRingError(position, f"shorter than {MIN_KEY_BYTES} bytes")
        keys.append((kid, key))
    return KeyRing(tuple(keys))
