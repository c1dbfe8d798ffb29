"""Word to systemd, where it started us: https://www.freedesktop.org/software/systemd/man/sd_notify.html"""

import contextlib
import os
import socket
from collections.abc import MutableMapping


class Notifier:
    """Takes the address out of the environment, so that no child speaks in our name. Without one, nothing is sent."""

    def __init__(self, environment: MutableMapping[str, str] = os.environ) -> None:
        address = environment.pop("NOTIFY_SOCKET", "")
        for name in ("WATCHDOG_USEC", "WATCHDOG_PID"):
            environment.pop(name, None)
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def ready(self) -> None:
        """It answers."""
        self._send("READY=1")

    def alive(self, status: str = "") -> None:
        """The watch goes on; systemd restarts a root that does not say so for the unit's WatchdogSec."""
        self._send("WATCHDOG=1" + (f"\nSTATUS={status}" if status else ""))

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def _send(self, words: str) -> None:
        if not self._address:
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
            line.setblocking(False)
            line.sendto(words.encode(), self._address)
