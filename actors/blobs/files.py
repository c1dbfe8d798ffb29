"""The files that are there: read, checked, and removed when nothing names them any more."""

import os
import shutil
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from actors.blobs.layout import Layout, hash_of, storage, sync_folder
from perenne import names
from perenne.errors import InvalidRequest, NotFound, TooLarge


class BlobFiles:
    """Calls block; any thread may make them."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    def open(self) -> None:
        """Make the folders, for their owner alone. OSError when that fails."""
        for folder in (self._layout.root, self._layout.incoming):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in (self._layout.root, *self._layout.root.parents[:2]):
            with suppress(PermissionError):  # not ours to look into, so not made by us
                sync_folder(folder)
        for aside in self._layout.incoming.glob("*.old"):  # a sweep died amid its work
            with suppress(NotFound):  # no file of ours
                path = self._layout.blob(aside.stem)
                if not path.exists():
                    aside.rename(path)

    def stat(self, blob_hash: str) -> int | None:
        """Its size, None when there is none."""
        with storage("the file can't be looked at"):
            try:
                return self._layout.blob(blob_hash).stat().st_size
            except FileNotFoundError:
                return None
            except NotFound:
                return None

    def path(self, blob_hash: str) -> Path:
        """Where its bytes are, to be read on this PC only. NotFound."""
        if self.stat(blob_hash) is None:
            raise NotFound("blob", blob_hash)
        return self._layout.blob(blob_hash)

    def read(self, blob_hash: str, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`, fewer at its end. NotFound; TooLarge for more than a piece."""
        if length > names.BLOB_PIECE_BYTES:
            raise TooLarge("the piece", length, names.BLOB_PIECE_BYTES)
        if offset < 0 or length < 0:
            raise InvalidRequest(f"expected an offset and a length of 0 or more, got {offset} and {length}", "offset")
        with storage("the file can't be read"):
            try:
                descriptor = os.open(self._layout.blob(blob_hash), os.O_RDONLY)
            except FileNotFoundError:
                raise NotFound("blob", blob_hash) from None
            try:
                return os.pread(descriptor, length, offset)
            finally:
                os.close(descriptor)

    def verify(self, blob_hash: str) -> bool:
        """Whether its bytes are still those of its hash. NotFound. Storing the same content again mends it."""
        path = self.path(blob_hash)
        with storage("the file can't be read"):
            return hash_of(path)[0] == blob_hash

    def sweep(self, kept: Collection[str], grace_s: float) -> tuple[int, int]:
        """Remove blobs that are not kept and older than `grace_s`; how many, and their bytes. The grace is for those whose
        rows are being written."""
        removed, freed, before = 0, 0, time.time() - grace_s
        named = frozenset(kept)
        with storage("the files can't be swept"):
            for blob_hash, path in self._layout.blobs():
                with suppress(FileNotFoundError):
                    found = path.stat()
                    if blob_hash not in named and found.st_mtime < before and self._drop(path, before):
                        removed, freed = removed + 1, freed + found.st_size
        return removed, freed

    def _drop(self, path: Path, before: float) -> bool:
        """Out of the way first: the same content may be committed this very moment, and then it is put back."""
        aside = self._layout.incoming / f"{path.parent.name}{path.name}.old"
        path.rename(aside)
        if aside.stat().st_mtime >= before:
            aside.rename(path)
            return False
        aside.unlink()
        return True

    def free_bytes(self) -> int:
        """Room on the disk."""
        return shutil.disk_usage(self._layout.root).free
