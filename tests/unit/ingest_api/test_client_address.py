"""Who asks: a proxy's word is taken only from a proxy that is trusted, and a client has one key."""

import pytest

from ingest_api.client_address import TrustedProxies, client_key, parse_networks

pytestmark = pytest.mark.unit

PROXIES = "10.0.0.0/8, 2001:db8:ff::/48"


def client(peer: str, *values: str, header: str = "x-forwarded-for", networks: str = PROXIES) -> str:
    """The client of a connection, as the edge finds it."""
    proxies = TrustedProxies(parse_networks(networks), header=header)
    headers = [(b"host", b"a"), *((header.encode(), value.encode()) for value in values)]
    return proxies.client_of(peer, headers) if proxies.trusts(peer) else peer


@pytest.mark.parametrize(
    ("peer", "values", "expected"),
    [
        ("192.0.2.9", ["198.51.100.1"], "192.0.2.9"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7, 198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["203.0.113.7", "198.51.100.1, 10.2.3.4"], "198.51.100.1"),
        ("10.0.0.1", ["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.1, unknown, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", ["198.51.100.1,"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("10.0.0.1", ["::ffff:198.51.100.1"], "198.51.100.1"),
        ("10.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:10.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        ("2001:db8:ff::1", ["2001:db8::7, 2001:db8:ff::2"], "2001:db8::7"),
        ("10.0.0.1", ["198.51.100.999"], "10.0.0.1"),
    ],
)
def test_the_rightmost_untrusted_address_is_the_client(peer: str, values: list[str], expected: str) -> None:
    """What a client wrote itself stands left of what its proxy wrote, and is not believed (fault S16)."""
    assert client(peer, *values) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ('for=192.0.2.60;proto=http;by=203.0.113.43, for="[2001:db8::7]:47"', "2001:db8::7"),
        ("proto=http; For=192.0.2.60", "192.0.2.60"),
        ("for=192.0.2.60, for=_hidden", "10.0.0.1"),
        ("proto=http", "10.0.0.1"),
        ("xfor=192.0.2.60", "10.0.0.1"),
    ],
)
def test_the_standard_header(value: str, expected: str) -> None:
    """Forwarded (RFC 7239) is read in place of X-Forwarded-For where the proxies write it."""
    assert client("10.0.0.1", value, header="forwarded") == expected


def test_the_other_header_is_not_read() -> None:
    """A header that the proxies do not write is the client's own: it changes nothing."""
    proxies = TrustedProxies(parse_networks(PROXIES), header="forwarded")
    assert proxies.client_of("10.0.0.1", [(b"x-forwarded-for", b"198.51.100.1")]) == "10.0.0.1"


def test_nobody_is_trusted_by_default() -> None:
    """Without networks no peer speaks for others."""
    assert client("127.0.0.1", "198.51.100.1", networks="") == "127.0.0.1"


@pytest.mark.parametrize(
    ("address", "key"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("2001:DB8:0:1:ffff::2", "2001:db8:0:1::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_a_client_is_counted_by_its_network(address: str, key: str) -> None:
    """All addresses of an IPv6 /64 are one client, in whatever spelling, and so are both spellings of an IPv4 one."""
    assert client_key(address) == key
