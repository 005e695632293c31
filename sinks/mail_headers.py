"""Mail headers, encoded here and nowhere else: no value can start another header, in any spelling."""

import base64
import re
from email.errors import HeaderParseError
from email.header import decode_header
from itertools import pairwise

# RFC 2047 section 2: a line with encoded words has at most 76 characters; RFC 5322 section 2.1.1: none has over 998.
ADVISED_LINE = 76
MAX_LINE = 998
# 39 bytes are 52 characters of base64 and 12 around them, which fit a line beside the longest name in use.
_WORD_BYTES = 39
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]*")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")


class HeaderError(ValueError):
    """A header's name or value could change other headers or break a line: refuse the message."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name = name
        self.reason = reason


def header_line(name: str, value: str) -> str:
    """`Name: value` folded and ended by CRLF; `value` is printable ASCII.

    Raises HeaderError for controls, also for those that an RFC 2047 reader would decode, and for an unfoldable line.
    """
    if not _NAME.fullmatch(name):
        raise HeaderError("header", "no name")
    if not _PRINTABLE.fullmatch(value):
        raise HeaderError(name, "not printable ASCII")
    if "=?" in value and _CONTROLS.search(_decoded(name, value)):
        raise HeaderError(name, "controls in an encoded word")
    folded = _fold(f"{name}: {value}")
    if any(len(line) > MAX_LINE for line in folded.split("\r\n")):
        raise HeaderError(name, "line too long")
    return folded + "\r\n"


def _decoded(name: str, value: str) -> str:
    try:
        return "".join(
            part.decode(charset or "ascii", "replace") if isinstance(part, bytes) else part
            for part, charset in decode_header(value)
        )
    except (HeaderParseError, LookupError, ValueError):
        raise HeaderError(name, "malformed encoded word") from None


def _fold(line: str) -> str:
    """Fold at spaces between words so that lines have 76 characters where they can."""
    folded, current = [], ""
    for word in line.split(" "):
        if current and current.strip() and len(current) + 1 + len(word) > ADVISED_LINE and not current.endswith(":"):
            folded.append(current)
            current = " " + word
        else:
            current = f"{current} {word}" if current else word
    return "\r\n".join([*folded, current])


def encode_text(name: str, text: str) -> str:
    """Text for an unstructured header or a display name; raises HeaderError for controls.

    Printable ASCII stays as it is, unless a reader could take part of it for an encoded word.
    """
    if _CONTROLS.search(text):
        raise HeaderError(name, "controls")
    if _PRINTABLE.fullmatch(text) and "=?" not in text:
        return text
    return " ".join(_words(text))


def _words(text: str) -> list[str]:
    """RFC 2047 encoded words of whole characters: "é" is `=?utf-8?b?w6k=?=`."""
    encoded = text.encode("utf-8", "replace")
    cuts, start = [0], 0
    for position in range(1, len(encoded) + 1):
        at_character = position == len(encoded) or encoded[position] & 0xC0 != 0x80  # noqa: PLR2004  - UTF-8's own bits
        if at_character and position - start > _WORD_BYTES - 4:
            cuts.append(position)
            start = position
    if cuts[-1] != len(encoded):
        cuts.append(len(encoded))
    return [f"=?utf-8?b?{base64.b64encode(encoded[a:b]).decode()}?=" for a, b in pairwise(cuts)]


def mailbox(name: str, display: str, address: str) -> str:
    """`display <address>` for a From header, the display name quoted or encoded; raises HeaderError."""
    encoded = encode_text(name, display)
    if not encoded:
        return address
    if encoded == display:
        encoded = '"' + display.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return f"{encoded} <{address}>"
