"""One instance: the home it holds by a lock, and the facts others need to reach it (HOME/run/instance.json)."""

import fcntl
import json
import os
import secrets
import shutil
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from cluster.environment import control_plane_path, haproxy_path, token_path
from cluster.ports import Ports, find_block, is_free
from perenne.errors import Conflict
from perenne.settings import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """`ray_address` and `token_path` are what a driver needs, `http` what everybody else needs."""

    home: str
    port_base: int
    ray_dir: str
    ray_address: str
    token_path: str
    http: str
    dashboard: str
    root_pid: int = 0
    version: str = ""
    started_at: float = 0.0
    environment: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def ports(self) -> Ports:
        return Ports(self.port_base)


def instance_path(home: str | Path) -> Path:
    return Path(home, "run", "instance.json")


def read_instance(home: str | Path) -> Instance | None:
    """The facts of the instance that last ran on this home; None when there was none or the file is torn."""
    try:
        values: dict[str, Any] = json.loads(instance_path(home).read_text())
        return Instance(**values)
    except (OSError, ValueError, TypeError):
        return None


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all, and on disk once this returns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}")
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class HomeLock:
    """Held by the root process for as long as it lives; the kernel frees it when it dies, however it dies."""

    def __init__(self, home: str | Path) -> None:
        self._path = Path(home, "run", "root.lock")
        self._handle: int | None = None

    def take(self) -> None:
        """Raises Conflict, naming the holder's process id, when another root runs on this home."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(handle)
            raise Conflict(f"an instance is already running on {self._path.parent.parent}") from None
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        self._handle = handle

    def release(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def holder(self) -> int | None:
        """The process id of the root that holds this home now, if one does."""
        try:
            handle = os.open(self._path, os.O_RDONLY)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return int(os.pread(handle, 32, 0) or b"0") or None
        finally:
            os.close(handle)
        return None


def private_folder(path: str | Path) -> Path:
    """A folder of ours that nobody else can look into. Raises Conflict when it is somebody else's."""
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    facts = os.lstat(folder)
    if facts.st_uid != os.getuid() or folder.is_symlink():
        raise Conflict(f"{folder} belongs to somebody else: remove it, or use another home")
    folder.chmod(0o700)
    return folder


def _port_base(settings: Settings) -> int:
    if settings.port_base is not None:
        return settings.port_base
    known = read_instance(settings.home)
    if known is not None and all(is_free(port) for port in known.ports.fixed):
        return known.port_base
    return find_block(int(settings.ray_dir[-6:], 16))


def prepare(settings: Settings) -> Instance:
    """Everything on disk that the head needs, before it starts: a fresh Ray folder (the tree is rebuilt from the database),
    a token, a port block. Call it with the lock held and no process of the instance alive."""
    shutil.rmtree(settings.ray_dir, ignore_errors=True)
    shutil.rmtree(settings.path("run", "starts"), ignore_errors=True)
    private_folder(settings.ray_dir)
    for folder in (control_plane_path(settings), haproxy_path(settings)):
        folder.mkdir(mode=0o700)
    private_folder(settings.path("run"))
    settings.path("logs").mkdir(parents=True, exist_ok=True)
    if not token_path(settings).exists():
        write_private(token_path(settings), secrets.token_hex(32))
    base = _port_base(settings)
    shown = "127.0.0.1" if settings.host in ("0.0.0.0", "::", "127.0.0.1") else settings.host  # noqa: S104 - compared, not bound
    return Instance(
        home=settings.home,
        port_base=base,
        ray_dir=settings.ray_dir,
        ray_address=f"127.0.0.1:{Ports(base)['gcs']}",
        token_path=str(token_path(settings)),
        http=f"http://{shown}:{settings.port}",
        dashboard=f"http://127.0.0.1:{Ports(base)['dashboard']}",
    )


def save(instance: Instance, **changes: Any) -> Instance:
    """Write the facts down for others to find."""
    instance = replace(instance, **changes)
    write_private(instance_path(instance.home), json.dumps(asdict(instance), indent=1))
    return instance
