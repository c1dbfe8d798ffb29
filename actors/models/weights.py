"""Weights on disk: MODELS_DIR/ID/ holds the files and a manifest of what was verified. Nothing is used without its manifest."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from actors.models.catalogue import ModelEntry, ModelFile

MANIFEST = "manifest.json"
_READ_BYTES = 1 << 20


def sha256_of(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """The hash of a file, read in pieces; `on_bytes` gets the bytes read so far."""
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as file:
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
            done += len(piece)
            if on_bytes is not None:
                on_bytes(done)
    return digest.hexdigest()


def fsync_folder(path: Path) -> None:
    """Make renames in this folder durable."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_aside(path: Path, text: str, *, durable: bool = True) -> None:
    """Replace a small file whole: a reader sees the old or the new one, never a half."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        if durable:
            file.flush()
            os.fsync(file.fileno())
    aside.replace(path)
    if durable:
        fsync_folder(path.parent)


class Weights:
    """The files of one model in one models folder."""

    def __init__(self, entry: ModelEntry, models_dir: Path) -> None:
        self.entry = entry
        self.models_dir = models_dir
        self.folder = models_dir / entry.id
        self.partial = models_dir / ".partial" / entry.id  # what is on its way; survives an interrupted download
        self.progress = self.partial / "progress.json"

    def path(self, file: ModelFile) -> Path:
        return self.folder / file.name

    @property
    def paths(self) -> tuple[Path, ...]:
        """Its files, in the catalogue's order."""
        return tuple(self.path(file) for file in self.entry.files)

    def _manifest(self) -> dict[str, Any]:
        try:
            return json.loads((self.folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        except (OSError, ValueError, KeyError):
            return {}

    def missing(self) -> tuple[ModelFile, ...]:
        """Files that are not there as they were verified: cheap, by size and time of change against the manifest."""
        held = self._manifest()
        return tuple(file for file in self.entry.files if not self._is_verified(file, held.get(file.name)))

    def _is_verified(self, file: ModelFile, held: dict[str, Any] | None) -> bool:
        try:
            stat = self.path(file).stat()
        except OSError:
            return False
        return held == {"sha256": file.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}

    @property
    def is_installed(self) -> bool:
        return not self.missing()

    def wrong(self) -> dict[str, str]:
        """Read every file and say what is wrong with which; empty when all hashes are the catalogue's."""
        faults: dict[str, str] = {}
        for file in self.entry.files:
            path = self.path(file)
            if not path.is_file():
                faults[file.name] = "missing"
            elif path.stat().st_size != file.size:
                faults[file.name] = f"{path.stat().st_size} bytes, expected {file.size}"
            elif (found := sha256_of(path)) != file.sha256:
                faults[file.name] = f"sha256 {found}, expected {file.sha256}"
        return faults

    def accept(self) -> None:
        """Write the manifest of files that were just verified, so that the next start needs no hashing."""
        held: dict[str, Any] = {}
        for file in self.entry.files:
            stat = self.path(file).stat()
            held[file.name] = {"sha256": file.sha256, "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        write_aside(self.folder / MANIFEST, json.dumps({"id": self.entry.id, "files": held}, indent=1) + "\n")
