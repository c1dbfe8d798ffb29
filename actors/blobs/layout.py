"""Where a blob lies: HOME/blobs/ab/cdef…, by the SHA-256 of its bytes; what is on its way in lies in HOME/blobs/incoming,
or in HOME/blobs/resumable when it comes over many requests."""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from perenne.errors import NotFound, StorageFailed

_HASH = re.compile(r"[0-9a-f]{64}")
_UPLOAD = re.compile(r"upl_[0-9a-f]{32}")
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths under one root. Nothing that a caller sends becomes a path before it is known to be a hash or an upload's id."""

    root: Path

    @property
    def incoming(self) -> Path:
        return self.root / "incoming"

    def blob(self, blob_hash: str) -> Path:
        """NotFound for what is no hash."""
        if not _HASH.fullmatch(blob_hash):
            raise NotFound("blob", blob_hash)
        return self.root / blob_hash[:2] / blob_hash[2:]

    def upload(self, upload_id: str) -> Path:
        """NotFound for what is no upload's id."""
        if not _UPLOAD.fullmatch(upload_id):
            raise NotFound("upload", upload_id)
        return self.incoming / upload_id

    def receipt(self, upload_id: str) -> Path:
        """Says what an upload became, for whoever commits it again."""
        return self.upload(upload_id).with_suffix(".done")

    @property
    def resumable(self) -> Path:
        return self.root / "resumable"

    def resumable_file(self, upload_id: str, kind: str) -> Path:
        """One of the files of an upload over many requests. NotFound for what is no upload's id."""
        if not _UPLOAD.fullmatch(upload_id):
            raise NotFound("upload", upload_id)
        return self.resumable / f"{upload_id}.{kind}"

    def blobs(self) -> Iterator[tuple[str, Path]]:
        """Every blob that is there."""
        for folder in sorted(self.root.iterdir()):
            if len(folder.name) == 2 and folder.is_dir():
                for path in sorted(folder.iterdir()):
                    if _HASH.fullmatch(folder.name + path.name):
                        yield folder.name + path.name, path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes) -> None:
    """A small file, whole or not at all, and on disk once this returns."""
    aside = path.with_suffix(path.suffix + "~")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    aside.replace(path)
    sync_folder(path.parent)


def keep(layout: Layout, path: Path, blob_hash: str) -> None:
    """Make a file, whose bytes are on disk, the blob of that hash. The name is on disk once this returns."""
    target = layout.blob(blob_hash)
    target.parent.mkdir(exist_ok=True)
    path.chmod(0o400)
    os.utime(path)  # its age counts from now: a sweep spares what is young
    path.replace(target)  # over the same bytes, if they were there: which heals them, should they be damaged
    for folder in (target.parent, layout.root):
        sync_folder(folder)


def hash_of(path: Path) -> tuple[str, int]:
    """SHA-256 and size of a file's bytes."""
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.hexdigest(), size


@contextmanager
def storage(doing: str) -> Iterator[None]:
    """What the disk refuses is StorageFailed, in words."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{doing}: {error.strerror or error}") from error
