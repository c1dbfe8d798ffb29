"""What an address to listen on means for who can reach it."""

from ipaddress import ip_address


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches it. A name other than localhost may mean anything."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
