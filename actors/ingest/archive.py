"""Archives (ZIP, TAR): every member a file of its own under a number, its path in the archive no more than a name.

Nothing is written by a name from within. Archives within archives are opened in the same go, so that the caps on entries,
bytes and depth hold for all of it."""

import shutil
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Any

from actors.ingest.compressed import STREAMS, holds_tar, unpacked
from actors.ingest.parsed import Member, Parsed, Refused, Skipped, is_disks_fault
from actors.ingest.sniffing import kind_of
from actors.ingest.source import Source

ARCHIVES = frozenset({"zip", "tar"})
_PATH_CHARS_MAX = 400
_PIECE = 1 << 20
_RATIO_MAX = 400  # unpacked to packed bytes of one member over a MiB; deflate reaches 1,032 at most
_LINES_A_BLOCK = 200
_JUNK = ("__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini")
_BROKEN = (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, ValueError, zlib.error, KeyError, RuntimeError)


class _Over(Refused):
    """All of the archive, archives within it included, is more than its caps."""


@dataclass(frozen=True, slots=True)
class _Entry:
    name: str
    packed_bytes: int | None  # None: it can't be told
    open: Callable[[], IO[bytes] | None]


def _shown(name: str) -> str:
    """A path without what climbs, tricks or can't be shown."""
    parts = ["".join(c for c in part if c.isprintable()).strip() for part in name.replace("\\", "/").split("/")]
    return "/".join(part for part in parts if part not in ("", ".", ".."))[-_PATH_CHARS_MAX:] or "unnamed"


def _zip_entries(source: Source) -> Iterator[_Entry]:
    with zipfile.ZipFile(source.path) as plain:
        locked = any(info.flag_bits & 1 for info in plain.infolist())
    if locked and not source.password:
        raise Refused("password_needed", "it needs a password: retry with the password")
    kind: Any = zipfile.ZipFile
    if locked:
        from pyzipper import AESZipFile as kind
    with kind(source.path) as archive:
        password = source.password.encode() if source.password else None
        for info in archive.infolist():
            if not info.filename.endswith("/"):  # is_dir() fails on a name without a character
                yield _Entry(info.filename, info.compress_size, lambda info=info: archive.open(info, pwd=password))


def _tar_entries(source: Source) -> Iterator[_Entry]:
    with tarfile.open(source.path, "r:") as archive:
        for info in archive:
            if info.isfile():
                yield _Entry(info.name, None, lambda info=info: archive.extractfile(info))


def _is_wrong_password(error: Exception) -> bool:
    return isinstance(error, RuntimeError) and "password" in str(error).lower()


@dataclass(slots=True)
class _Unpacking:
    folder: Path
    source: Source
    left_bytes: int
    entries: int = 0
    members: list[Member] = field(default_factory=list[Member])
    skipped: list[Skipped] = field(default_factory=list[Skipped])
    first: Refused | None = None  # why the first one was skipped

    def walk(self, source: Source, kind: str, prefix: str, depth: int) -> None:
        """Every file of one archive. Refused when the archive itself can't be read."""
        caps = source.caps
        try:
            for entry in (_zip_entries if kind == "zip" else _tar_entries)(source):
                self.entries += 1
                if self.entries > caps.entries_max:
                    raise _Over("archive_bomb", f"it holds more than {caps.entries_max:,} files", {"limit": caps.entries_max})
                source.progress(self.entries, caps.entries_max)
                path = prefix + _shown(entry.name)
                if not any(part.startswith(".") or part in _JUNK for part in path.split("/")):
                    self._one(entry, path, depth)
        except (*_BROKEN, OSError) as error:
            if is_disks_fault(error):
                raise
            raise Refused("damaged", f"it is a damaged archive ({error})"[:400]) from error

    def _one(self, entry: _Entry, path: str, depth: int) -> None:
        file = self.folder / f"{self.entries:06}"
        kept = False
        try:
            self._write(entry, file)
            kept = self._keep(path, file, depth)
        except _Over:
            raise
        except Refused as refusal:
            self.skipped.append(Skipped(path, refusal.code, str(refusal)))
            self.first = self.first or refusal
        finally:
            if not kept:
                file.unlink(missing_ok=True)

    def _write(self, entry: _Entry, file: Path) -> None:
        ceiling = self.left_bytes
        if entry.packed_bytes is not None:
            ceiling = min(ceiling, max(entry.packed_bytes * _RATIO_MAX, _PIECE))
        size = 0
        try:
            content = entry.open()
            if content is None:
                raise Refused("damaged", "it is damaged: it points at a file that is not there")
            with content, file.open("wb") as into:
                while piece := content.read(_PIECE):
                    size += len(piece)
                    self.left_bytes -= len(piece)
                    if self.left_bytes < 0:
                        limit = self.source.caps.unpacked_bytes_max
                        why = f"it unpacks to more than the limit of {limit:,} bytes"
                        raise _Over("archive_bomb", why, {"limit_bytes": limit})
                    if size > ceiling:
                        raise Refused("archive_bomb", "it unpacks to more than an honest file would: it looks like a bomb")
                    into.write(piece)
        except (*_BROKEN, OSError) as error:
            if is_disks_fault(error):
                raise
            if _is_wrong_password(error):
                raise Refused("password_wrong", "it needs a password, and the one that was given does not open it") from error
            raise Refused("damaged", f"it is damaged ({error})"[:400]) from error

    def _keep(self, path: str, file: Path, depth: int) -> bool:
        """Whether the file stays, as a member; an archive's own members stay in its stead."""
        size = file.stat().st_size
        limit = self.source.caps.file_bytes_max
        if size == 0:
            raise Refused("empty", "it is empty")
        if size > limit:
            raise Refused("too_large", f"it is {size:,} bytes long; the limit is {limit:,}", {"limit_bytes": limit})
        inner = replace(self.source, path=file, name=path.rpartition("/")[2], media_type=None)
        kind = kind_of(inner)
        if kind in STREAMS and holds_tar(file, kind):
            inner, kind = unpacked(inner, file.with_suffix(".tar"), kind), "tar"
        if kind not in ARCHIVES:
            self.members.append(Member(path, file.name, size))
            return True
        try:
            if depth >= self.source.caps.nesting_max:
                raise Refused("nested_too_deeply", f"it is an archive within {depth} archives", {"limit": depth})
            self.walk(inner, kind, f"{path}/", depth + 1)
        finally:
            file.with_suffix(".tar").unlink(missing_ok=True)
        return False


def _refuse(unpacking: _Unpacking) -> Refused:
    """Nothing in it can be read: why is the first one's reason."""
    first = unpacking.first
    if first is None:
        return Refused("empty", "there is no file in it")
    why = f"none of its files can be read; {unpacking.skipped[0].path}: {first}"
    return Refused(first.code, why, first.details)


def expand(source: Source, kind: str, work: Path) -> Parsed:
    """The archive as a document that lists what is in it, and its members as files in a folder beside `work`."""
    folder = work.with_suffix(".members")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    unpacking = _Unpacking(folder, source, source.caps.unpacked_bytes_max)
    unpacking.walk(source, kind, "", 1)
    if not unpacking.members:
        raise _refuse(unpacking)
    builder = source.builder()
    builder.heading(source.name or "Archive", 1)
    lines = [member.path for member in unpacking.members]
    lines += [f"{skipped.path} ({skipped.reason})" for skipped in unpacking.skipped]
    for at in range(0, len(lines), _LINES_A_BLOCK):
        builder.add("\n".join(lines[at : at + _LINES_A_BLOCK]), kind="lines")
    parsed = builder.build("application/zip" if kind == "zip" else "application/x-tar")
    return replace(parsed, members=tuple(unpacking.members), skipped=tuple(unpacking.skipped))
