"""What this machine lacks, said in a sentence with what to type. Each look is a small function that finds or finds nothing."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from actors.store.filesystem import NETWORK_TYPES, place_of
from cluster.environment import CHECKOUT
from cluster.ports import is_free
from perenne.settings import Settings

MEMORY_NEEDED_BYTES = 4 << 30  # the tiny set in comfort; below it Linux would kill us
MEMORY_ADVISED_BYTES = 7 << 30  # "8 GB" PCs report a little less
DISK_NEEDED_BYTES = 1 << 30
DISK_ADVISED_BYTES = 6 << 30  # the default set of models and room for documents
SHM_NEEDED_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`stops`: `perenne up` refuses; `warns`: it starts, but; `fine`: looked at and in order."""

    about: str
    level: Literal["fine", "warns", "stops"]
    sentence: str
    remedy: str = ""


def _fine(about: str, sentence: str) -> Finding:
    return Finding(about=about, level="fine", sentence=sentence)


def python(settings: Settings, running: bool) -> Iterator[Finding]:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Finding(
            about="python",
            level="stops",
            sentence=f"Python {sys.version.split()[0]} runs this; 3.11, 3.12 or 3.13 is needed.",
            remedy="Make the environment anew: rm -rf .venv && make run PYTHON=python3.12",
        )
    else:
        yield _fine("python", f"Python {sys.version.split()[0]}")


def port(settings: Settings, running: bool) -> Iterator[Finding]:
    if running:
        return
    if not is_free(settings.port, settings.host):
        yield Finding(
            about="port",
            level="stops",
            sentence=f"Port {settings.port} on {settings.host} is taken by {_holder(settings.port)}.",
            remedy=f"End that program, or use another port: PERENNE_PORT={settings.port + 1} perenne up",
        )
    else:
        yield _fine("port", f"port {settings.port} on {settings.host} is free")
    if settings.port_base is not None and not 1024 <= settings.port_base <= 65_000:
        yield Finding(
            about="port_base",
            level="stops",
            sentence=f"port_base is {settings.port_base}; a port between 1024 and 65000 is needed.",
        )


def _holder(number: int) -> str:
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == number
                and connection.pid
            ):
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        pass
    return "another program"


def existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    while not path.exists():
        path = path.parent
    return path.resolve()


def file_system(settings: Settings, running: bool) -> Iterator[Finding]:
    if settings.store.url is not None:
        return
    mount, kind = place_of(settings.path("store")) or ("", "")
    if kind in NETWORK_TYPES:
        yield Finding(
            about="file_system",
            level="stops",
            sentence=f"{settings.home} is on a network file system ({kind} at {mount}), where SQLite's locks don't hold.",
            remedy="Put the home on a local disk: PERENNE_HOME=/path/on/a/local/disk perenne up",
        )
    else:
        yield _fine("file_system", f"the home is on {kind} at {mount}" if kind else "what the home is on can't be told")


def memory(settings: Settings, running: bool) -> Iterator[Finding]:
    total = psutil.virtual_memory().total
    size = f"{total / 2**30:.1f} GB of memory"
    if total < MEMORY_NEEDED_BYTES and settings.profile != "tiny":
        yield Finding(
            about="memory",
            level="stops",
            sentence=f"This PC has {size}; {MEMORY_NEEDED_BYTES >> 30} GB are needed.",
            remedy="For a look with the smallest models: PERENNE_PROFILE=tiny perenne up",
        )
    elif total < MEMORY_ADVISED_BYTES:
        yield Finding(about="memory", level="warns", sentence=f"This PC has {size}; 8 GB hold the default models in comfort.")
    else:
        yield _fine("memory", size)


def disk(settings: Settings, running: bool) -> Iterator[Finding]:
    for about, path in (("disk", settings.path()), ("models_disk", Path(settings.models_dir))):
        free = shutil.disk_usage(existing(path)).free
        size = f"{free / 2**30:.1f} GB free for {path}"
        if free < DISK_NEEDED_BYTES:
            yield Finding(
                about=about, level="stops", sentence=f"There are {size}; at least 1 GB is needed.", remedy="Free some space."
            )
        elif free < DISK_ADVISED_BYTES:
            yield Finding(about=about, level="warns", sentence=f"There are {size}; the default models want 6 GB once.")
        else:
            yield _fine(about, size)
    if not os.access(existing(settings.path()), os.W_OK):
        yield Finding(
            about="home",
            level="stops",
            sentence=f"{settings.home} can't be written by you.",
            remedy="Name a home of your own: PERENNE_HOME=~/perenne perenne up",
        )


def shared_memory(settings: Settings, running: bool) -> Iterator[Finding]:
    try:
        free = shutil.disk_usage("/dev/shm").free  # noqa: S108 - looked at, not written
    except OSError:
        free = 0
    if free < SHM_NEEDED_BYTES and not running:
        yield Finding(
            about="shared_memory",
            level="stops",
            sentence=f"/dev/shm has {free >> 20} MB free; Ray needs {SHM_NEEDED_BYTES >> 20} MB there.",  # noqa: S108
            remedy="In a container: --shm-size=512m. Else: sudo mount -o remount,size=512m /dev/shm",
        )


def programs(settings: Settings, running: bool) -> Iterator[Finding]:
    if shutil.which("make") is None:
        yield Finding(about="make", level="warns", sentence="make is missing.", remedy="sudo apt install make")
    if not (CHECKOUT / "web" / "dist" / "index.html").exists():
        yield Finding(
            about="page", level="warns", sentence="The page is not built; the API works without it.", remedy="make web"
        )


def weights(settings: Settings, running: bool) -> Iterator[Finding]:
    folder = Path(settings.models_dir)
    held = {path.name.lower() for path in folder.rglob("*")} if folder.is_dir() else set[str]()
    for role, model in (("language", settings.language), ("embedding", settings.embedding)):
        if model.engine == "openai" or Path(model.model).exists():
            continue
        if any(model.model.lower() in name for name in held):
            yield _fine("weights", f"the {role} model {model.model} is in {folder}")
        else:
            yield Finding(
                about="weights",
                level="warns",
                sentence=f"The {role} model {model.model} is not in {folder} yet; `perenne up` downloads it behind the page.",
                remedy="To have it before: perenne models pull",
            )


LOOKS: tuple[Callable[[Settings, bool], Iterator[Finding]], ...] = (
    python,
    port,
    file_system,
    memory,
    disk,
    shared_memory,
    programs,
    weights,
)


def examine(settings: Settings, running: bool = False) -> list[Finding]:
    """All findings, in order. Looks only; changes nothing."""
    return [finding for look in LOOKS for finding in look(settings, running)]
