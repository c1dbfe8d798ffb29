"""A repository behind a URL: whatever fsspec, and the packages that add to it, can reach."""

import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from actors.backups.storage import INCOMING
from perenne.errors import BackupDamaged, ConfigurationError, PerenneError, StorageFailed

# stores whose objects appear whole or not at all when they are put: written at once. Anywhere else aside first, then moved
_WHOLE_PUTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "az", "adl", "memory", "oci", "oss"})


class RemoteFolder:
    """A `Storage`. Its durability is the target's: when a write is answered, that is all that can be known."""

    threads = 8

    def __init__(self, url: str) -> None:
        import fsspec

        self.shown = without_password(url)
        protocol = url.split("://", 1)[0].rsplit("::", maxsplit=1)[-1]
        try:
            self._fs: Any
            self._fs, root = fsspec.url_to_fs(url, skip_instance_cache=protocol != "memory", use_listings_cache=False)
        except ImportError as error:
            raise ConfigurationError(
                f"the backup's target {self.shown} needs a package that is not installed: {error}; "
                f"install it into Perenne's environment (pip install {_package(protocol)}) and try again"
            ) from error
        except ValueError as error:
            raise ConfigurationError(f"the backup's target {self.shown} can't be used: {error}") from error
        except Exception as error:
            raise StorageFailed(f"the backup's target {self.shown}: {_words(error)}") from error
        self._root = str(root).rstrip("/")
        self._whole_puts = protocol in _WHOLE_PUTS
        self._folders: set[str] = set()

    def read(self, name: str, limit: int, head: bool = False) -> bytes:
        with self._refusals():
            data: bytes = self._fs.cat_file(self._path(name), start=0, end=limit if head else limit + 1)
        if len(data) > limit:
            raise BackupDamaged(name, f"it is longer than the {limit} bytes that it may have")
        return data

    def write(self, name: str, data: bytes) -> None:
        with self._refusals():
            self._make_folder(name)
            if self._whole_puts:
                self._fs.pipe_file(self._path(name), data)
                return
            aside = f"{INCOMING}/{uuid.uuid4().hex}"
            self._make_folder(aside)
            try:
                self._fs.pipe_file(self._path(aside), data)
                self._move(aside, name)
            except BaseException:
                with suppress(Exception):
                    self._fs.rm_file(self._path(aside))
                raise

    def write_new(self, name: str, data: bytes) -> bool:
        with self._refusals():
            if self._fs.exists(self._path(name)):
                return False
        self.write(name, data)
        return True

    def rename(self, name: str, new: str) -> None:
        with self._refusals():
            self._make_folder(new)
            self._move(name, new)

    def remove(self, name: str) -> None:
        with self._refusals(), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        with self._refusals():
            self._fs.invalidate_cache()
            try:
                found: dict[str, dict[str, Any]] = self._fs.find(self._path(folder), detail=True)
            except FileNotFoundError:
                return
        start = f"{self._root}/".lstrip("/")
        for path, about in found.items():
            name = path.lstrip("/").removeprefix(start)
            if not name.startswith(f"{INCOMING}/"):
                yield name, int(about.get("size") or 0)

    def settle(self, folders: Iterable[str]) -> None:
        """Nothing more can be asked of it."""

    def clear_incoming(self) -> int:
        with self._refusals():
            self._fs.invalidate_cache()
            try:
                left: list[str] = self._fs.find(self._path(INCOMING))
            except FileNotFoundError:
                return 0
            for path in left:
                with suppress(FileNotFoundError):
                    self._fs.rm_file(path)
        return len(left)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _move(self, name: str, new: str) -> None:
        try:
            self._fs.mv(self._path(name), self._path(new))
        except FileExistsError:  # some servers (SFTP) don't move over a file
            self._fs.rm_file(self._path(new))
            self._fs.mv(self._path(name), self._path(new))

    def _make_folder(self, name: str) -> None:
        folder = name.rpartition("/")[0]
        if folder not in self._folders:
            self._fs.makedirs(self._path(folder), exist_ok=True)
            self._folders.add(folder)

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except (PerenneError, FileNotFoundError):
            raise
        except Exception as error:  # each package has errors of its own
            raise StorageFailed(f"the backup's target {self.shown}: {_words(error)}") from error


def without_password(url: str) -> str:
    """A URL as it may be shown: name and password, and what follows a question mark, left out."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def _package(protocol: str) -> str:
    """The package that teaches fsspec a protocol, as far as fsspec knows it."""
    from fsspec.registry import known_implementations

    module = str(known_implementations.get(protocol, {}).get("class", protocol)).split(".", 1)[0]
    return {"fsspec": {"sftp": "paramiko", "ssh": "paramiko", "smb": "smbprotocol"}.get(protocol, protocol)}.get(module, module)


def _words(error: BaseException) -> str:
    strerror = getattr(error, "strerror", None)
    return str(strerror or error or type(error).__name__)
