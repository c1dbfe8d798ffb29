"""Where a repository's objects lie: small files by name, under one root. A folder of this PC here, anything else that
fsspec knows in `remote`."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Protocol

from perenne.errors import BackupDamaged, ConfigurationError, StorageFailed

INCOMING = "incoming"  # the folder of what is being written; nothing in it is ever read back


class Storage(Protocol):
    """Names are relative, with `/`, and ours: never a path that somebody sent. Calls block; any thread may make them. What
    the target refuses is StorageFailed, in words; what isn't there is FileNotFoundError."""

    shown: str  # the target as it may be shown: without a password
    threads: int  # how many calls at once make sense

    def read(self, name: str, limit: int, head: bool = False) -> bytes:
        """All of it, or with `head` its first `limit` bytes. BackupDamaged for what is longer than `limit`."""
        ...

    def write(self, name: str, data: bytes) -> None:
        """Whole or not at all, over what was there. Its bytes are durable when this returns; its name is after `settle`."""
        ...

    def write_new(self, name: str, data: bytes) -> bool:
        """The same, and durable with its name; False when there is such a name already (as good as the target can tell)."""
        ...

    def rename(self, name: str, new: str) -> None:
        """Over what was there."""
        ...

    def remove(self, name: str) -> None:
        """Harmless for what isn't there."""
        ...

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        """Everything under a folder, by its whole name, with its size; of what is being written, nothing."""
        ...

    def settle(self, folders: Iterable[str]) -> None:
        """Make the names in these folders durable."""
        ...

    def clear_incoming(self) -> int:
        """Drop what was left half-written; how many. Only while nobody writes."""
        ...


class LocalFolder:
    """A folder of this PC, its owner's alone (0700, files 0600)."""

    threads = 4

    def __init__(self, root: Path) -> None:
        self._root = root
        self.shown = str(root)
        self._folders: set[str] = set()

    def make(self) -> None:
        """Make the root, durably. StorageFailed."""
        with _refusals(self.shown):
            missing = [folder for folder in (self._root, *self._root.parents) if not folder.exists()]
            try:
                self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
            except FileNotFoundError as error:  # such as below /proc: nothing that a caller could take for a missing object
                raise StorageFailed(f"the backup's target {self.shown} can't be made: {error.strerror}") from error
            for folder in missing:
                with suppress(PermissionError):  # a parent that is not ours to look into was not made by us
                    _sync(folder.parent)

    def read(self, name: str, limit: int, head: bool = False) -> bytes:
        with _refusals(self.shown), (self._root / name).open("rb") as file:
            there = os.fstat(file.fileno()).st_size  # asked for more, Python would set all of it aside
            data = file.read(min(limit if head else limit + 1, there))
        return _bounded(name, data, limit)

    def write(self, name: str, data: bytes) -> None:
        with _refusals(self.shown), self._aside(name, data) as aside:
            aside.replace(self._root / name)

    def write_new(self, name: str, data: bytes) -> bool:
        with _refusals(self.shown), self._aside(name, data) as aside:
            try:
                os.link(aside, self._root / name)
            except FileExistsError:
                return False
            except OSError:  # a file system without links (FAT, some shares)
                if (self._root / name).exists():
                    return False
                aside.replace(self._root / name)
            _sync((self._root / name).parent)
            return True

    def rename(self, name: str, new: str) -> None:
        with _refusals(self.shown):
            self._make_folder(new)
            (self._root / name).replace(self._root / new)

    def remove(self, name: str) -> None:
        with _refusals(self.shown), suppress(FileNotFoundError):
            (self._root / name).unlink()

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        with _refusals(self.shown):
            waiting = [folder]
            while waiting:
                within = waiting.pop()
                try:
                    entries = list(os.scandir(self._root / within))
                except FileNotFoundError:
                    continue
                for entry in entries:
                    name = f"{within}/{entry.name}" if within else entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if name != INCOMING:
                            waiting.append(name)
                    else:
                        with suppress(FileNotFoundError):
                            yield name, entry.stat().st_size

    def settle(self, folders: Iterable[str]) -> None:
        wanted = {parent for folder in folders for parent in (folder, *(str(above) for above in Path(folder).parents))}
        with _refusals(self.shown):
            for folder in sorted(wanted, key=len, reverse=True):
                with suppress(FileNotFoundError):
                    _sync(self._root / folder)

    def clear_incoming(self) -> int:
        count = 0
        with _refusals(self.shown), suppress(FileNotFoundError):
            for entry in os.scandir(self._root / INCOMING):
                with suppress(FileNotFoundError):
                    Path(entry.path).unlink()
                    count += 1
        return count

    def free_bytes(self) -> int:
        """Room on the disk."""
        with _refusals(self.shown):
            return shutil.disk_usage(self._root).free

    @contextmanager
    def _aside(self, name: str, data: bytes) -> Iterator[Path]:
        """A file of these bytes, durable, that is gone at the end unless it was moved to its name."""
        self._make_folder(name)
        self._make_folder(f"{INCOMING}/")
        aside = self._root / INCOMING / uuid.uuid4().hex
        try:
            descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                rest = memoryview(data)
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                os.fsync(descriptor)  # once only: what a failed one leaves is thrown away, never tried again
            finally:
                os.close(descriptor)
            yield aside
        finally:
            with suppress(OSError):
                aside.unlink()

    def _make_folder(self, name: str) -> None:
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            for above in (*reversed(Path(folder).parents), Path(folder)):
                with suppress(FileExistsError):
                    (self._root / above).mkdir(mode=0o700)
            self._folders.add(folder)


def open_storage(target: str, create: bool) -> Storage:
    """The storage at a path or URL. ConfigurationError for a target that nothing here can reach, with what to install;
    NotFound is not told here: a target without a repository looks like an empty one."""
    if not target:
        raise ConfigurationError("the backup's target is empty: expected a folder or a URL such as s3://bucket/folder")
    if "://" in target and not target.startswith("file://"):
        from actors.backups.remote import RemoteFolder

        return RemoteFolder(target)
    path = Path(target.removeprefix("file://")).expanduser().absolute()
    if path.exists() and not path.is_dir():
        raise ConfigurationError(f"the backup's target {str(path)!r} is a file: expected a folder")
    folder = LocalFolder(path)
    if create:
        folder.make()
    return folder


def _bounded(name: str, data: bytes, limit: int) -> bytes:
    if len(data) > limit:
        raise BackupDamaged(name, f"it is longer than the {limit} bytes that it may have")
    return data


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _refusals(shown: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise StorageFailed(f"the backup's target {shown}: {error.strerror or error}") from error
