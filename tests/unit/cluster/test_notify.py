"""Words to systemd."""

import socket
from pathlib import Path

from cluster.notify import Notifier


def test_systemd_hears_and_no_child_speaks_in_our_name(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(5)
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000000", "HOME": "/"}
        notifier = Notifier(environment)
        assert environment == {"HOME": "/"}
        notifier.ready()
        notifier.alive("Ray is started, try 1")
        notifier.stopping()
        heard = [manager.recv(1000) for _ in range(3)]
    assert heard == [b"READY=1", b"WATCHDOG=1\nSTATUS=Ray is started, try 1", b"STOPPING=1"]
    notifier.alive()  # nobody listens any more: nothing happens


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0perenne-notify-test")
        manager.settimeout(5)
        Notifier({"NOTIFY_SOCKET": "@perenne-notify-test"}).ready()
        assert manager.recv(100) == b"READY=1"


def test_without_systemd_nothing_is_sent() -> None:
    Notifier({}).ready()
