"""Owns the event ids of what comes from outside: the same message of the same source is the same event."""

import hashlib

EVENT_ID_BYTES = 16


def outside_id(source: str, number: str) -> bytes:
    """Return the 16 bytes of BLAKE2b (RFC 7693) over source, a line feed and number; a source holds no line feed."""
    if "\n" in source:
        msg = "a source holds no line feed"
        raise ValueError(msg)
    return hashlib.blake2b(f"{source}\n{number}".encode(errors="surrogatepass"), digest_size=EVENT_ID_BYTES).digest()
