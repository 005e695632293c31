"""Owns the event ids of what comes from outside: the same message of the same source is the same event."""

import hashlib

EVENT_ID_BYTES = 16


class OutsideIds:
    """The ids of one source: what all its numbers have in front is hashed once."""

    def __init__(self, source: str) -> None:
        """Begin; a source holds no line feed."""
        if "\n" in source:
            msg = "a source holds no line feed"
            raise ValueError(msg)
        self._begun = hashlib.blake2b(f"{source}\n".encode(errors="surrogatepass"), digest_size=EVENT_ID_BYTES)

    def of(self, number: str) -> bytes:
        """Return the 16 bytes of BLAKE2b (RFC 7693) over source, a line feed and number."""
        digest = self._begun.copy()
        digest.update(number.encode("utf-8", "surrogatepass"))
        return digest.digest()


def outside_id(source: str, number: str) -> bytes:
    """Return the 16 bytes of BLAKE2b (RFC 7693) over source, a line feed and number; a source holds no line feed."""
    return OutsideIds(source).of(number)
