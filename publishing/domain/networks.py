"""Owns the classes of known networks: an address is looked up among sorted ranges, and is not kept."""

import bisect
import ipaddress
import itertools
from collections.abc import Iterable, Iterator
from typing import Final

from schemas.messages import NetworkClass

_PROXY, _PRIVATE, _GATEWAY = NetworkClass.PROXY, NetworkClass.PRIVATE, NetworkClass.GATEWAY
_Range = tuple[int, int, NetworkClass]

# Class, source, networks: what providers publish or registries name (RFC 9083), shortened to the blocks that fetch or
# check letters. `proxy`: a mail service that fetches for its readers; `private`: a relay that hides readers' addresses;
# `gateway`: a filter that opens links by itself. One that people also browse through is none of these.
KNOWN: Final[tuple[tuple[NetworkClass, str, str], ...]] = (
    (
        _PROXY,
        "https://support.google.com/a/answer/60764",  # Google's mail and image proxies
        (
            "64.233.160.0/19 66.102.0.0/20 66.249.80.0/20 72.14.192.0/18 74.125.0.0/16 108.177.8.0/21 172.217.0.0/19 "
            "173.194.0.0/16 209.85.128.0/17 216.58.192.0/19 216.239.32.0/19 2001:4860:4000::/36 2404:6800:4000::/36 "
            "2607:f8b0:4000::/36 2800:3f0:4000::/36 2a00:1450:4000::/36 2c0f:fb50:4000::/36"
        ),
    ),
    (
        _PROXY,
        "https://senders.yahooinc.com/outbound-mail-servers/",  # Yahoo and AOL
        (
            "66.163.160.0/19 66.196.64.0/18 67.195.0.0/16 68.142.192.0/18 72.30.0.0/16 74.6.0.0/16 98.136.0.0/14 "
            "206.190.32.0/19 209.191.64.0/18 216.39.48.0/20"
        ),
    ),
    (
        _PRIVATE,
        "https://support.apple.com/101555",  # Apple's own networks
        "17.0.0.0/8 2403:300::/32 2620:149::/32 2a01:b740::/32",
    ),
    (
        _PRIVATE,
        "https://mask-api.icloud.com/egress-ip-ranges.csv",  # the relays of Apple's partners, by their large blocks
        "104.28.0.0/16 172.224.224.0/19 2606:54c0::/32 2a02:26f7::/32 2a04:4e41::/32",
    ),
    (
        _GATEWAY,
        "https://learn.microsoft.com/microsoft-365/enterprise/urls-and-ip-address-ranges",  # Exchange Online Protection
        "40.92.0.0/15 40.107.0.0/16 52.100.0.0/14 104.47.0.0/17 2a01:111:f400::/48 2a01:111:f403::/48",
    ),
    (
        _GATEWAY,
        "https://rdap.org/ip/67.231.144.0",  # Proofpoint
        (
            "67.231.144.0/20 148.163.128.0/19 205.220.160.0/20 185.132.180.0/22 185.183.28.0/22 91.207.212.0/23 "
            "62.209.50.0/23"
        ),
    ),
    (
        _GATEWAY,
        "https://rdap.org/ip/205.139.110.0",  # Mimecast; its support pages list the networks of each data centre
        (
            "63.128.21.0/24 205.139.110.0/23 207.211.30.0/23 216.205.24.0/24 170.10.128.0/20 91.220.42.0/24 "
            "146.101.78.0/24 185.58.84.0/22 195.130.217.0/24"
        ),
    ),
    (
        _GATEWAY,
        "https://rdap.org/ip/209.222.80.0",  # Barracuda
        "64.235.144.0/20 209.222.80.0/21",
    ),
    (
        _GATEWAY,
        "https://rdap.org/ip/85.158.136.0",  # Symantec Email Security.cloud (MessageLabs)
        (
            "46.226.48.0/21 67.219.240.0/20 85.158.136.0/21 103.9.96.0/22 117.120.16.0/21 193.109.254.0/23 "
            "194.106.220.0/23 195.245.230.0/23 216.82.240.0/20"
        ),
    ),
)
_V6_BITS: Final = 128
_V4_OCTETS: Final = 4


class NetworksError(ValueError):
    """A line of the networks file is not `<network> <class>`: mend the line that is named."""

    def __init__(self, line: int, problem: str) -> None:
        """Keep the line's number, from 1, and what is wrong with it."""
        super().__init__(f"line {line}: {problem}")
        self.line = line
        self.problem = problem


class Networks:
    """A table of networks; of two that hold an address the narrower decides, of two that are the same the later."""

    def __init__(self, rows: Iterable[tuple[str, NetworkClass]]) -> None:
        """Sort the networks (CIDR, IPv4 or IPv6) into ranges; raises ValueError for what is no network."""
        v4: list[_Range] = []
        v6: list[_Range] = []
        for text, network_class in rows:
            network = ipaddress.ip_network(text)
            ranges = v4 if network.version == 4 else v6  # noqa: PLR2004  - the names of the protocols
            ranges.append((int(network.network_address), int(network.broadcast_address), network_class))
        self._v4 = _Segments(v4)
        self._v6 = _Segments(v6)

    def class_of(self, address: str) -> NetworkClass:
        """Return the class of an address, `unknown` for one that is in no network or is no address."""
        try:
            if ":" not in address:
                return self._v4.find(_v4_number(address))
            number = ipaddress.IPv6Address(address)
        except ValueError:
            return NetworkClass.UNKNOWN
        mapped = number.ipv4_mapped
        return self._v6.find(int(number)) if mapped is None else self._v4.find(int(mapped))


class _Segments:
    """Ranges that nest or are apart, cut into segments of one class each; a look-up is one bisection."""

    def __init__(self, ranges: list[_Range]) -> None:
        self._starts: list[int] = []
        self._classes: list[NetworkClass] = []
        self._put(0, NetworkClass.UNKNOWN)
        outer: list[tuple[int, NetworkClass]] = []
        for first, last, network_class in sorted(ranges, key=lambda one: (one[0], -one[1])):
            self._leave(outer, first)
            self._put(first, network_class)
            outer.append((last, network_class))
        self._leave(outer, 2**_V6_BITS)

    def find(self, number: int) -> NetworkClass:
        """Return the class of the segment that holds the number."""
        return self._classes[bisect.bisect_right(self._starts, number) - 1]

    def _leave(self, outer: list[tuple[int, NetworkClass]], before: int) -> None:
        """End the ranges that lie wholly before a number; what follows each is of the range around it."""
        while outer and outer[-1][0] < before:
            last, _ = outer.pop()
            self._put(last + 1, outer[-1][1] if outer else NetworkClass.UNKNOWN)

    def _put(self, start: int, network_class: NetworkClass) -> None:
        if self._starts and self._starts[-1] == start:
            self._classes[-1] = network_class
        else:
            self._starts.append(start)
            self._classes.append(network_class)


def _v4_number(address: str) -> int:
    """Return the number of a dotted address, faster than ipaddress does; raises ValueError."""
    octets = bytes(map(int, address.split(".")))
    if len(octets) != _V4_OCTETS:
        raise ValueError("not four octets")
    return int.from_bytes(octets)


def known_rows() -> Iterator[tuple[str, NetworkClass]]:
    """Yield the networks of KNOWN."""
    for network_class, _, blocks in KNOWN:
        yield from ((block, network_class) for block in blocks.split())


def read_rows(text: str) -> Iterator[tuple[str, NetworkClass]]:
    """Yield the networks of a file, `<network> <class>` a line, `#` begins a comment; raises NetworksError."""
    for number, line in enumerate(text.splitlines(), start=1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        try:
            block, name = words
            yield str(ipaddress.ip_network(block)), NetworkClass(name)
        except ValueError as error:
            raise NetworksError(number, "is not a network and one of the classes") from error


def networks_of(text: str = "") -> Networks:
    """Return the known networks with those of an installation's own file; raises NetworksError."""
    return Networks(itertools.chain(known_rows(), read_rows(text)))
