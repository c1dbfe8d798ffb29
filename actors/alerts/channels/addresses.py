"""Which addresses a channel may connect to. A name is nothing here: what counts is the number that is connected to."""

import ipaddress
from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

from perenne.errors import ConfigurationError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# What is not public: the registries of special addresses (https://www.iana.org/assignments/iana-ipv4-special-registry and its sister for
# IPv6), with multicast, and with the service address of one cloud's virtual machines, which is public by the registry. Of IPv6 only what
# is named is public. Written out, because Python's own `is_global` differs from release to release.
_INSIDE = tuple(
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
        *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
        *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address that is reached
_PUBLIC = (IPv6Network("2000::/3"), _NAT64)


class AddressRefused(OSError):
    """The connection was not made. An OSError, so that every library takes it for an address that can't be reached."""


def reached_by(address: Address) -> tuple[Address, ...]:
    """The address and those that it stands for: IPv4 within IPv6, mapped or translated."""
    if isinstance(address, IPv4Address):
        return (address,)
    if address.ipv4_mapped is not None:
        return (address.ipv4_mapped,)
    if address in _NAT64:
        return (address, IPv4Address(int(address) & 0xFFFFFFFF))
    return (address,)


def is_public(address: Address) -> bool:
    """Whether the address itself is one of the public Internet."""
    if isinstance(address, IPv6Address) and not any(address in network for network in _PUBLIC):
        return False
    return not any(address.version == network.version and address in network for network in _INSIDE)


class Reach:
    """Public addresses, and what the owner allows besides. ConfigurationError for what is no network."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed: list[Network] = []
        for text in allowed:
            try:
                self._allowed.append(ipaddress.ip_network(text))
            except ValueError as error:
                raise ConfigurationError(
                    f"outgoing.allow: expected networks such as 192.168.1.0/24 or 127.0.0.1/32, got {text!r}: {error}"
                ) from error

    def _allows(self, address: Address) -> bool:
        return any(address.version == network.version and address in network for network in self._allowed)

    def check(self, text: str) -> None:
        """AddressRefused unless this numeric address may be connected to."""
        try:
            address = ipaddress.ip_address(text)
        except ValueError as error:
            raise AddressRefused(f"expected a numeric address to connect to, got {text!r}") from error
        if self._allows(address):
            return
        for each in reached_by(address):
            if not is_public(each) and not self._allows(each):
                raise AddressRefused(
                    f"{text} is not a public address; if it is meant, allow it: outgoing: {{allow: [{each}/{each.max_prefixlen}]}}"
                )
