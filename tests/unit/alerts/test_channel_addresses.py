"""Which addresses a channel may connect to, by the number alone."""

import pytest

from actors.alerts.channels.addresses import AddressRefused, Reach
from perenne.errors import ConfigurationError

INSIDE = (
    *("127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "172.16.0.1", "172.31.255.255", "192.168.1.1", "100.64.0.1"),
    *("169.254.169.254", "168.63.129.16", "100.100.100.200", "192.0.0.192", "198.18.0.1", "192.0.2.1", "203.0.113.9"),
    *("224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255"),
    *(
        "::",
        "::1",
        "fe80::1",
        "fc00::1",
        "fd00:ec2::254",
        "fec0::1",
        "ff02::1",
        "2001:db8::1",
        "2002:7f00:1::",
        "2001::1",
        "100::1",
    ),
    *("::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:a00:1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe"),
    *("64:ff9b:1::1", "4000::1", "3fff::1"),
)
OUTSIDE = (
    "1.1.1.1",
    "8.8.8.8",
    "172.15.255.255",
    "172.32.0.1",
    "100.63.255.255",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
)
NO_ADDRESS = ("localhost", "", "0x7f.1", "2130706433", "127.1", "017700000001", "1.1.1.1:80", "[::1]", "fe80::1%eth0")


@pytest.mark.parametrize("address", INSIDE)
def test_what_is_inside_is_refused(address: str) -> None:
    with pytest.raises(AddressRefused, match="not a public address"):
        Reach().check(address)


@pytest.mark.parametrize("address", OUTSIDE)
def test_what_is_public_is_let_through(address: str) -> None:
    Reach().check(address)


@pytest.mark.parametrize("address", NO_ADDRESS)
def test_what_is_no_number_is_never_connected_to(address: str) -> None:
    with pytest.raises(AddressRefused):
        Reach().check(address)


def test_the_owner_allows_by_network_and_nothing_beside_it() -> None:
    reach = Reach(("192.168.1.0/24", "::1/128"))
    for address in ("192.168.1.77", "::ffff:192.168.1.77", "64:ff9b::c0a8:14d", "::1"):
        reach.check(address)
    for address in ("192.168.2.1", "127.0.0.1", "::ffff:127.0.0.1", "fd00::1"):
        with pytest.raises(AddressRefused, match="allow it"):
            reach.check(address)


def test_a_refusal_says_what_to_write_to_allow_it() -> None:
    with pytest.raises(AddressRefused, match=r"allow: \[10\.0\.0\.7/32\]"):
        Reach().check("::ffff:10.0.0.7")


@pytest.mark.parametrize("network", ["192.168.1.1/24", "home", "", "10.0.0.0/33"])
def test_what_is_no_network_is_said_at_once(network: str) -> None:
    with pytest.raises(ConfigurationError, match="expected networks such as"):
        Reach((network,))
