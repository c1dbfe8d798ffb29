"""Puts the check of addresses under every socket of this process, so that no library, name or redirect gets round it.

For processes that only send (`sender.py`): it can't be taken back."""

import socket
import ssl
import sys
from typing import Any

from actors.alerts.channels.addresses import AddressRefused, Reach

_EVENTS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})
RECEIVED_BYTES_MAX = 4 << 20  # of one process, over all its connections: no answer to a message is that long


def _numeric(self: socket.socket, host: str, port: Any) -> Any:
    """The address that a name stands for now; it is what is connected to, so that the name can't stand for another by then."""
    found = socket.getaddrinfo(host, port, self.family, self.type)
    return found[0][4]


def install(reach: Reach) -> None:
    """From now on only what `reach` allows is connected to. AddressRefused for anything else, Unix sockets too."""

    def checked(self: socket.socket, address: Any) -> Any:
        if self.family not in (socket.AF_INET, socket.AF_INET6):
            raise AddressRefused("channels connect to Internet addresses only")
        host, port = str(address[0]), address[1]
        numeric = _numeric(self, host, port)
        reach.check(str(numeric[0]).partition("%")[0])
        return numeric

    def connect(self: socket.socket, address: Any) -> None:
        real_connect(self, checked(self, address))

    def connect_ex(self: socket.socket, address: Any) -> int:
        return real_connect_ex(self, checked(self, address))

    received = 0

    def recv(self: socket.socket, *given: Any) -> bytes:
        return _counted(real_recv(self, *given))

    def recv_into(self: socket.socket, *given: Any, **named: Any) -> int:
        size = real_recv_into(self, *given, **named)
        _count(size)
        return size

    def _counted(data: bytes) -> bytes:
        _count(len(data))
        return data

    def _count(size: int) -> None:
        nonlocal received
        received += size
        if received > RECEIVED_BYTES_MAX:
            raise OSError(f"the answer is longer than {RECEIVED_BYTES_MAX:,} bytes")

    def read(self: ssl.SSLSocket, *given: Any) -> Any:
        got = real_read(self, *given)
        _count(got if isinstance(got, int) else len(got))
        return got

    kind: Any = socket.socket
    real_connect, real_connect_ex = kind.connect, kind.connect_ex
    real_recv, real_recv_into = kind.recv, kind.recv_into
    kind.connect, kind.connect_ex, kind.recv, kind.recv_into = connect, connect_ex, recv, recv_into
    secure: Any = ssl.SSLSocket  # reads by itself, below the two above
    real_read, secure.read = secure.read, read
    sys.addaudithook(_hook(reach))


def _hook(reach: Reach) -> Any:
    """The second look, under the first one: at what the interpreter itself is about to connect or send to, whoever asks."""

    def look(event: str, given: tuple[Any, ...]) -> None:
        if event not in _EVENTS or given[1] is None:
            return
        address = given[1]
        if not isinstance(address, tuple):
            raise AddressRefused("channels connect to Internet addresses only")
        reach.check(str(address[0]).partition("%")[0])

    return look
