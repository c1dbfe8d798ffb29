"""What the doctor looks at around us: the system's limits, its clock and names, and what an earlier instance left."""

import os
import resource
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cluster.environment import token_path
from cluster.findings import Finding, program
from cluster.first_boot import key_path
from cluster.ports import Ports, is_free
from cluster.processes import of_instance
from perenne.settings import Settings

OPEN_FILES_ADVISED = 4096  # a socket for each of 1,000 listeners, twice (the proxy's and ours), and the databases
INOTIFY = Path("/proc/sys/fs/inotify")
INOTIFY_ADVISED = {"max_user_watches": 8192, "max_user_instances": 64}  # a watch for each folder; an instance for each tree
CLOCK_SINCE_S = 1_735_689_600.0  # 2025-01-01: earlier than this no clock of a PC that runs us is right
CLOCK_AHEAD_S = 300.0  # what was written may be this much later than now: a network's clocks differ


def key_files(settings: Settings, running: bool) -> Iterator[Finding]:
    for path in (key_path(settings), token_path(settings)):
        if os.path.isfile(path) and os.stat(path).st_mode & 0o077:
            yield Finding(
                about="key_file",
                level="warns",
                sentence=f"{path} can be read by others on this PC, and holds a key.",
                remedy=f"chmod 600 {path}",
            )


def leftovers(settings: Settings, running: bool) -> Iterator[Finding]:
    """Processes whose root was killed. `perenne up` ends them too, and is slower for it."""
    left = {} if running else of_instance(settings.ray_dir)
    if left:
        yield Finding(
            about="leftovers",
            level="warns",
            sentence=f"{len(left)} processes of an earlier instance still run, and nobody supervises them.",
            remedy=f"{program()} down",
        )


def port_block(settings: Settings, running: bool) -> Iterator[Finding]:
    if running or settings.port_base is None or not 1024 <= settings.port_base <= 65_000:
        return
    taken = [port for port in Ports(settings.port_base).fixed if not is_free(port)]
    if taken:
        yield Finding(
            about="port_block",
            level="stops",
            sentence=f"Port {taken[0]} of the block that begins at port_base {settings.port_base} is taken.",
            remedy="Leave it out, and a free block is found: unset PERENNE_PORT_BASE",
        )


def open_files(settings: Settings, running: bool) -> Iterator[Finding]:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < OPEN_FILES_ADVISED:
        yield Finding(
            about="open_files",
            level="warns",
            sentence=f"A program may hold {soft} files and sockets open here; {OPEN_FILES_ADVISED} carry many listeners.",
            remedy=f"ulimit -n {OPEN_FILES_ADVISED} && {program()} up",
        )


def inotify(settings: Settings, running: bool) -> Iterator[Finding]:
    for name, advised in INOTIFY_ADVISED.items():
        try:
            allowed = int((INOTIFY / name).read_text())
        except (OSError, ValueError):
            continue
        if allowed < advised:
            yield Finding(
                about="inotify",
                level="warns",
                sentence=f"The kernel allows {allowed} for fs.inotify.{name}; large watched folders are then seen later.",
                remedy=f"sudo sysctl fs.inotify.{name}={advised}",
            )


def temporary(settings: Settings, running: bool) -> Iterator[Finding]:
    """Where Ray's sockets are."""
    folder = Path(settings.ray_dir)
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        yield Finding(
            about="temporary",
            level="stops",
            sentence=f"{folder.parent} can't be written by you, and Ray keeps its sockets there.",
            remedy=f"sudo chmod 1777 {folder.parent}",
        )
    elif os.path.lexists(folder) and (os.path.islink(folder) or os.lstat(folder).st_uid != os.getuid()):
        yield Finding(
            about="temporary",
            level="stops",
            sentence=f"{folder} belongs to somebody else, and Ray would keep its sockets there.",
            remedy=f"sudo rm -rf {folder}",
        )


def localhost(settings: Settings, running: bool) -> Iterator[Finding]:
    try:
        found = {str(facts[4][0]) for facts in socket.getaddrinfo("localhost", settings.port, type=socket.SOCK_STREAM)}
    except OSError:
        found = set[str]()
    if "127.0.0.1" not in found:
        yield Finding(
            about="localhost",
            level="warns",
            sentence=f"The name localhost means {', '.join(sorted(found)) or 'nothing'} here, and Perenne answers at 127.0.0.1.",
            remedy="echo '127.0.0.1 localhost' | sudo tee -a /etc/hosts",
        )


def clock(settings: Settings, running: bool) -> Iterator[Finding]:
    """One that went back makes keys live longer than they should, and new rows older than old ones."""
    now, store = time.time(), settings.path("store")
    written = [path.stat().st_mtime for path in store.iterdir()] if os.access(store, os.R_OK | os.X_OK) else []
    ahead = max(written, default=0.0) - now
    if now < CLOCK_SINCE_S or ahead > CLOCK_AHEAD_S:
        behind = f", {ahead:,.0f} s before the last write to {store}" if ahead > CLOCK_AHEAD_S else ""
        yield Finding(
            about="clock",
            level="warns",
            sentence=f"This PC's clock says {time.strftime('%Y-%m-%d %H:%M', time.gmtime(now))} UTC{behind}.",
            remedy="sudo timedatectl set-ntp true",
        )


LOOKS: tuple[Callable[[Settings, bool], Iterator[Finding]], ...] = (
    key_files,
    leftovers,
    port_block,
    open_files,
    inotify,
    temporary,
    localhost,
    clock,
)
