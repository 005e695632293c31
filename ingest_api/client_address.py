"""Owns who asks: the client's address behind proxies that are trusted, and the key by which clients are counted."""

import ipaddress
import re
from collections.abc import Iterable, Sequence

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# A provider gives a customer a /64 at the least (RFC 6177), so one machine has 2^64 addresses of one.
IPV6_CLIENT_BITS = 64

_FOR = re.compile(r'(?:^|;)[ \t]*for="?([^";,]*)', re.IGNORECASE)


def parse_networks(text: str) -> tuple[Network, ...]:
    """Read a comma-separated list of CIDR networks; raises ValueError."""
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())


def parse_address(text: str) -> Address | None:
    """Read `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1` or `[2001:db8::1]:80`; None for all else, as `unknown`."""
    host = text.strip().strip('"')
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def client_key(address: str) -> str:
    """Return what a client is counted by: its IPv4 address, also when mapped, or the /64 of its IPv6 address."""
    if ":" not in address:
        return address
    parsed = parse_address(address)
    if not isinstance(parsed, ipaddress.IPv6Address):
        return str(parsed)
    return str(ipaddress.ip_network((parsed, IPV6_CLIENT_BITS), strict=False))


class TrustedProxies:
    """The proxies whose word about their clients is taken; without any, the peer of the connection is the client."""

    def __init__(self, networks: Sequence[Network], *, header: str) -> None:
        """Keep the networks, and the one header that these proxies write: a second one would be the client's own."""
        self._networks = tuple(networks)
        self._header = header.encode()

    def trusts(self, peer: str) -> bool:
        """Whether a connection from this address speaks for others."""
        if not self._networks:
            return False
        address = parse_address(peer)
        return address is not None and self._holds(address)

    def client_of(self, peer: str, headers: Iterable[tuple[bytes, bytes]]) -> str:
        """Return the rightmost address that is no trusted proxy; what stands left of it is hearsay.

        A hop that is no address ends the search: the client is then the last proxy that was understood.
        """
        text = ",".join(value.decode("latin-1") for name, value in headers if name == self._header)
        client = peer
        for hop in reversed(text.split(",")):
            address = parse_address(self._named(hop))
            if address is None:
                return client
            client = str(address)
            if not self._holds(address):
                return client
        return client

    def _named(self, hop: str) -> str:
        if self._header != b"forwarded":
            return hop
        found = _FOR.search(hop)
        return found[1] if found else ""

    def _holds(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._networks)
