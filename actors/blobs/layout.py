"""Where a blob lies: HOME/blobs/ab/cdef…, by the SHA-256 of its bytes; what is on its way in lies in HOME/blobs/incoming."""

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
