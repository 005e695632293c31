"""Avro's zigzag variable-length numbers (Avro 1.12 specification, Binary Encoding)."""

from __future__ import annotations

_MAX_BYTES = 10  # 64 bits in groups of seven


def write_long(number: int) -> bytes:
    """The shortest encoding of a 64-bit number; -1 is the byte 01, 64 the bytes 80 01."""
    rest = (number << 1) ^ (number >> 63)
    out = bytearray()
    while rest > 0x7F:  # noqa: PLR2004  - seven bits a byte, the eighth says that more follow
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def read_long(payload: bytes, start: int) -> tuple[int, int]:
    """The number at `start` and the position behind it; raises IndexError where it does not end within 10 bytes."""
    rest = 0
    for place in range(_MAX_BYTES):
        byte = payload[start + place]
        rest |= (byte & 0x7F) << (7 * place)
        if not byte & 0x80:
            return (rest >> 1) ^ -(rest & 1), start + place + 1
    raise IndexError
