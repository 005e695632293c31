"""Sealed addresses and credentials: AES-256-GCM under a key of each reader, which the installation's keys wrap."""

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from publishing.domain.keys import KeyRing

# NIST SP 800-38D, section 8.2: 96-bit nonces; random ones are safe for 2^32 seals a key.
NONCE_BYTES = 12
KEY_BYTES = 32


class SealError(Exception):
    """A sealed value does not open: its key is gone from TIDEWIRE_SEAL_KEYS, or the row was altered."""


def _derived(key: bytes, purpose: str) -> bytes:
    return hmac.new(key, f"tidewire/{purpose}".encode(), hashlib.sha256).digest()


def _encrypt(key: bytes, plaintext: bytes, label: bytes) -> bytes:
    nonce = secrets.token_bytes(NONCE_BYTES)
    return nonce + AESGCM(key).encrypt(nonce, plaintext, label)


def _decrypt(key: bytes, sealed: bytes, label: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], label)
    except (InvalidTag, ValueError) as error:
        raise SealError from error


class Sealer:
    """Seals with the ring's current key and opens with any; the associated data is the row's identity."""

    def __init__(self, ring: KeyRing) -> None:
        self._current = ring.current[0]
        self._wrapping = {kid: _derived(key, "wrap") for kid, key in ring.keys}
        # The look-up key is the oldest key's, so that rotation leaves the column as it is.
        self._lookup = _derived(ring.keys[-1][1], "lookup")

    def new_data_key(self, row_id: int) -> bytes:
        """A new key for one row, wrapped: `kid:` + nonce + ciphertext."""
        return self.seal_config(f"data-key/{row_id}", secrets.token_bytes(KEY_BYTES))

    def seal(self, wrapped: bytes, row_id: int, plaintext: bytes) -> bytes:
        """Seal a value under a row's wrapped key; raises SealError when the key does not unwrap."""
        return _encrypt(self._unwrapped(wrapped, row_id), plaintext, f"row/{row_id}".encode())

    def open(self, wrapped: bytes, row_id: int, sealed: bytes) -> bytes:
        """Open what seal made; raises SealError when key, row or bytes do not belong together."""
        return _decrypt(self._unwrapped(wrapped, row_id), sealed, f"row/{row_id}".encode())

    def seal_config(self, label: str, plaintext: bytes) -> bytes:
        """Seal a value that belongs to no reader, such as a channel's credentials, bound to its label."""
        key = self._wrapping[self._current]
        return self._current.encode() + b":" + _encrypt(key, plaintext, label.encode())

    def open_config(self, label: str, sealed: bytes) -> bytes:
        """Open what seal_config made; raises SealError."""
        kid, separator, rest = sealed.partition(b":")
        key = self._wrapping.get(kid.decode("ascii", "replace"))
        if not separator or key is None:
            raise SealError
        return _decrypt(key, rest, label.encode())

    def lookup(self, value: str) -> bytes:
        """The keyed hash (HMAC-SHA256, 32 bytes) by which an address is found without opening any."""
        return hmac.new(self._lookup, value.strip().casefold().encode(), hashlib.sha256).digest()

    def _unwrapped(self, wrapped: bytes, row_id: int) -> bytes:
        return self.open_config(f"data-key/{row_id}", wrapped)
