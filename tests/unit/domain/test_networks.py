"""Networks: an address finds its class, the narrower network decides, and an installation adds its own."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from publishing.domain.networks import Networks, NetworksError, known_rows, networks_of, read_rows
from schemas.messages import NetworkClass

pytestmark = pytest.mark.unit

KNOWN = networks_of()


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("66.249.84.3", "proxy"),
        ("::ffff:66.249.84.3", "proxy"),
        ("2a00:1450:4009:81f::2005", "proxy"),
        ("98.137.11.1", "proxy"),
        ("17.58.97.1", "private"),
        ("104.28.30.4", "private"),
        ("2a02:26f7::1", "private"),
        ("40.107.22.1", "gateway"),
        ("40.91.255.255", "unknown"),
        ("40.94.0.0", "unknown"),
        ("148.163.159.255", "gateway"),
        ("148.163.160.0", "unknown"),
        ("85.158.136.1", "gateway"),
        ("::ffff:104.47.1.1", "gateway"),
        ("127.0.0.1", "unknown"),
        ("10.1.2.3", "unknown"),
        ("0.0.0.1", "unknown"),
        ("255.255.255.255", "unknown"),
        ("::", "unknown"),
        ("fe80::1%eth0", "unknown"),
        ("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unknown"),
    ],
)
def test_addresses_have_a_class(address: str, network: str) -> None:
    """First and last address of a network are in it, their neighbours are not."""
    assert KNOWN.class_of(address) is NetworkClass(network)


@pytest.mark.parametrize(
    "text", ["", "x", "1.2.3", "1.2.3.256", "1.2.3.4.5", "-1.2.3.4", ":", "testclient", "1:2", "é"]
)
def test_what_is_no_address_is_unknown(text: str) -> None:
    """A server that names its client otherwise loses only this evidence."""
    assert KNOWN.class_of(text) is NetworkClass.UNKNOWN


NETWORK = st.builds(
    lambda number, bits: ipaddress.IPv4Network((number >> (32 - bits) << (32 - bits), bits)),
    st.integers(0, 2**32 - 1),
    st.integers(1, 32),
) | st.builds(
    lambda number, bits: ipaddress.IPv6Network((number >> (128 - bits) << (128 - bits), bits)),
    st.integers(0, 2**128 - 1),
    st.integers(1, 128),
)
ROWS = st.lists(st.tuples(NETWORK, st.sampled_from(NetworkClass)), max_size=12)


@given(ROWS, st.data())
def test_the_narrowest_network_decides(
    rows: list[tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, NetworkClass]], data: st.DataObject
) -> None:
    """At each border of each network the class is that of the narrowest that holds the address; the later of equals."""
    table = Networks((str(network), one) for network, one in rows)
    addresses = [address for network, _ in rows for address in _around(network)]
    if not addresses:
        assert table.class_of("1.2.3.4") is NetworkClass.UNKNOWN
        return
    address = data.draw(st.sampled_from(addresses))
    holding = [(network.prefixlen, place, one) for place, (network, one) in enumerate(rows) if address in network]
    wanted = max(holding)[2] if holding else NetworkClass.UNKNOWN
    assert table.class_of(str(address)) is wanted


def _around(
    network: ipaddress.IPv4Network | ipaddress.IPv6Network,
) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    first, last = int(network.network_address), int(network.broadcast_address)
    kind = type(network.network_address)
    found = [kind(number) for number in (first - 1, first, last, last + 1) if 0 <= number < 2**network.max_prefixlen]
    # An IPv6 address that maps an IPv4 one is looked up as that.
    return [one for one in found if not (isinstance(one, ipaddress.IPv6Address) and one.ipv4_mapped)]


def test_known_networks_are_networks() -> None:
    """Each block of the table is written as a network, and none is there twice."""
    blocks = [block for block, _ in known_rows()]
    assert [str(ipaddress.ip_network(block)) for block in blocks] == blocks
    assert len(set(blocks)) == len(blocks)


def test_an_installation_adds_its_own() -> None:
    """A file's network of the same width replaces a known one, and adds what is not known."""
    own = networks_of(
        "# our offices\n10.0.0.0/8 residential\n\n40.107.0.0/16 datacenter # moved\n2001:db8::/32 gateway\n"
    )
    assert own.class_of("10.9.8.7") is NetworkClass.RESIDENTIAL
    assert own.class_of("40.107.1.1") is NetworkClass.DATACENTER
    assert own.class_of("2001:db8::7") is NetworkClass.GATEWAY


@pytest.mark.parametrize("line", ["10.0.0.0/8", "10.0.0.1/8 proxy", "x proxy", "10.0.0.0/8 nonsense", "10.0.0.0/8 a b"])
def test_a_bad_line_is_named(line: str) -> None:
    """A line that is no network and class is refused with its number."""
    with pytest.raises(NetworksError, match="line 2") as error:
        list(read_rows(f"10.0.0.0/8 proxy\n{line}\n"))
    assert error.value.line == 2
