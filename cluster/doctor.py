"""What this machine lacks, said in a sentence with what to type. Each look is a small function that finds or finds nothing."""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from actors.store.filesystem import NETWORK_TYPES, place_of
from cluster import surroundings
from cluster.environment import CHECKOUT
from cluster.exposure import exposure
from cluster.findings import Finding
from cluster.findings import fine as _fine
from cluster.findings import program as _perenne
from cluster.ports import is_free
from cluster.processes import of_instance
from perenne.settings import ModelSettings, Settings

MEMORY_NEEDED_BYTES = 4 << 30  # the tiny set in comfort; below it Linux would kill us
MEMORY_ADVISED_BYTES = 7 << 30  # "8 GB" PCs report a little less
DISK_NEEDED_BYTES = 1 << 30
DISK_ADVISED_BYTES = 6 << 30  # the default set of models and room for documents
SHM_NEEDED_BYTES = 256 << 20
NODE_NEEDED = (20, 19)  # what builds the page; as in .ci/node
_NODE_WITHIN_S = 5.0


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
        holder = _holder(settings.port)
        ours = holder is not None and holder.pid in of_instance(settings.ray_dir)
        by = "another program" if holder is None else f"{holder.name()} (process {holder.pid})"
        yield Finding(
            about="port",
            level="warns" if ours else "stops",
            sentence=f"Port {settings.port} on {settings.host} is taken by {by}{', which an earlier run left' if ours else ''}.",
            remedy=f"End all that was left: {_perenne()} down"
            if ours
            else f"End that program, or use another port: PERENNE_PORT={settings.port + 1} {_perenne()} up",
        )
    else:
        yield _fine("port", f"port {settings.port} on {settings.host} is free")
    if settings.port_base is not None and not 1024 <= settings.port_base <= 65_000:
        yield Finding(
            about="port_base",
            level="stops",
            sentence=f"port_base is {settings.port_base}; a port between 1024 and 65000 is needed.",
            remedy="Leave it out, and a free one is found: unset PERENNE_PORT_BASE",
        )


def _holder(number: int) -> psutil.Process | None:
    """Who listens there, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if (
                connection.status == psutil.CONN_LISTEN
                and connection.laddr
                and connection.laddr.port == number
                and connection.pid
            ):
                return psutil.Process(connection.pid)
    except psutil.Error:
        pass
    return None


def existing(path: Path) -> Path:
    """The nearest folder above that is there."""
    while not os.path.exists(path):  # Path.exists raises where a folder above is closed to us
        path = path.parent
    return Path(os.path.realpath(path))


def file_system(settings: Settings, running: bool) -> Iterator[Finding]:
    if settings.store.url is not None:
        return
    mount, kind = place_of(settings.path("store")) or ("", "")
    if kind in NETWORK_TYPES:
        yield Finding(
            about="file_system",
            level="stops",
            sentence=f"{settings.home} is on a network file system ({kind} at {mount}), where SQLite's locks don't hold.",
            remedy=f"Put the home on a local disk: PERENNE_HOME=/path/on/a/local/disk {_perenne()} up",
        )
    else:
        yield _fine("file_system", f"the home is on {kind} at {mount}" if kind else "what the home is on can't be told")


def database(settings: Settings, running: bool) -> Iterator[Finding]:
    if settings.store.url is None or settings.store.url.startswith("sqlite:"):
        return
    from actors.store.postgresql import Trouble, found_at

    try:
        yield _fine("database", found_at(settings.store.url))
    except Trouble as error:
        yield Finding(about="database", level="stops", sentence=error.sentence, remedy=error.remedy)


def memory(settings: Settings, running: bool) -> Iterator[Finding]:
    total = psutil.virtual_memory().total
    size = f"{total / 2**30:.1f} GB of memory"
    if total < MEMORY_NEEDED_BYTES and settings.profile != "tiny":
        yield Finding(
            about="memory",
            level="stops",
            sentence=f"This PC has {size}; {MEMORY_NEEDED_BYTES >> 30} GB are needed.",
            remedy=f"For a look with the smallest models: PERENNE_PROFILE=tiny {_perenne()} up",
        )
    elif total < MEMORY_ADVISED_BYTES:
        yield Finding(
            about="memory",
            level="warns",
            sentence=f"This PC has {size}; 8 GB hold the default models in comfort.",
            remedy=f"For the smallest models: PERENNE_PROFILE=tiny {_perenne()} up",
        )
    else:
        yield _fine("memory", size)


def swap(settings: Settings, running: bool) -> Iterator[Finding]:
    """With little memory and nowhere to go beyond it, Linux ends a process where it would have paused."""
    size = psutil.swap_memory().total
    if size == 0 and psutil.virtual_memory().total < MEMORY_ADVISED_BYTES:
        yield Finding(
            about="swap",
            level="warns",
            sentence="This PC has little memory and no swap; a model that loads may end another process.",
            remedy="sudo fallocate -l 4G /swapfile && sudo chmod 600 /swapfile && sudo mkswap /swapfile && sudo swapon /swapfile",
        )
    else:
        yield _fine("swap", f"{size / 2**30:.1f} GB of swap" if size else "no swap, and memory enough without")


def disk(settings: Settings, running: bool) -> Iterator[Finding]:
    for about, path in (("disk", settings.path()), ("models_disk", Path(settings.models_dir))):
        free = shutil.disk_usage(existing(path)).free
        size = f"{free / 2**30:.1f} GB free for {path}"
        if free < DISK_NEEDED_BYTES:
            yield Finding(
                about=about, level="stops", sentence=f"There are {size}; at least 1 GB is needed.", remedy="Free some space."
            )
        elif free < DISK_ADVISED_BYTES:
            yield Finding(
                about=about,
                level="warns",
                sentence=f"There are {size}; the default models want 6 GB once.",
                remedy=f"Free some space, or name a larger disk for them: PERENNE_MODELS=/path/on/it {_perenne()} up",
            )
        else:
            yield _fine(about, size)
    nearest = existing(settings.path())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            about="home",
            level="stops",
            sentence=f"{settings.home} can't be written by you." if nearest.is_dir() else f"{nearest} is a file, not a folder.",
            remedy=f"Name a home of your own: PERENNE_HOME=~/perenne-home {_perenne()} up",
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


def page(settings: Settings, running: bool) -> Iterator[Finding]:
    """Node is needed to build the page, and for nothing after that."""
    if (CHECKOUT / "web" / "dist" / "index.html").exists():
        yield _fine("page", "the page is built")
        return
    held = node_version()
    if held is not None and held >= NODE_NEEDED:
        yield Finding(
            about="page", level="warns", sentence="The page is not built; the API works without it.", remedy="make web"
        )
        return
    has = "no Node" if held is None else f"Node {held[0]}.{held[1]}"
    yield Finding(
        about="node",
        level="warns",
        sentence=f"The page is not built and this PC has {has}; {NODE_NEEDED[0]}.{NODE_NEEDED[1]} or newer builds it.",
        remedy="It is fetched as a package and the page built by: make run",
    )


def node_version() -> tuple[int, int] | None:
    """Major and minor version of the Node on the PATH; None when there is none that answers, or no npm beside it."""
    program = shutil.which("node")
    if program is None or shutil.which("npm") is None:
        return None
    try:
        said = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=_NODE_WITHIN_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.match(r"v(\d+)\.(\d+)\.", said.stdout)
    return (int(found[1]), int(found[2])) if found else None


def _models(settings: Settings) -> dict[str, ModelSettings]:
    more = {} if settings.reranking is None else {"reranking": settings.reranking}
    return {"language": settings.language, "embedding": settings.embedding, **more}


def extras(settings: Settings, running: bool) -> Iterator[Finding]:
    wanting = [role for role, model in _models(settings).items() if model.engine == "transformers"]
    if not wanting:
        return
    missing = [name for name in ("torch", "transformers") if not _is_installed(name)]
    if missing:
        yield Finding(
            about="extras",
            level="warns",
            sentence=f"The engine of {' and '.join(wanting)} needs {' and '.join(missing)}, which {_be(missing)} not installed here.",
            remedy="To have what the engine transformers needs: make transformers",
        )
    else:
        yield _fine("extras", "torch and transformers are installed")


def _be(names: list[str]) -> str:
    return "are" if len(names) > 1 else "is"


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # a module that is no module
        return False


def weights(settings: Settings, running: bool) -> Iterator[Finding]:
    from actors.models.catalogue import catalogue
    from actors.models.weights import Weights

    folder = Path(settings.models_dir)
    for role, model in _models(settings).items():
        if model.engine == "openai" or Path(model.model).exists() or model.model not in catalogue():
            continue
        held = Weights(catalogue()[model.model], folder)
        if held.is_installed:
            yield _fine("weights", f"the {role} model {model.model} is in {folder}")
        elif held.folder.exists() or held.partial.exists():
            yield Finding(
                about="weights",
                level="warns",
                sentence=f"The {role} model {model.model} is in {folder} in part, or not as it was verified.",
                remedy=f"To have it whole: {_perenne()} models pull {model.model}",
            )
        else:
            yield Finding(
                about="weights",
                level="warns",
                sentence=f"The {role} model {model.model} is not in {folder} yet; `perenne up` downloads it behind the page.",
                remedy=f"To have it before: {_perenne()} models pull",
            )


LOOKS: tuple[Callable[[Settings, bool], Iterator[Finding]], ...] = (
    python,
    port,
    exposure,
    file_system,
    database,
    memory,
    swap,
    disk,
    shared_memory,
    programs,
    page,
    extras,
    weights,
    *surroundings.LOOKS,
)


def examine(settings: Settings, running: bool = False) -> list[Finding]:
    """All findings, in order. Looks only; changes nothing."""
    return [finding for look in LOOKS for finding in look(settings, running)]
