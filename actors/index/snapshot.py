"""What a shard leaves on disk: a sealed base, the state beside it, and a manifest that is renamed into place last.

A snapshot is believed only when the manifest's own digest and the hash of every file that it names are right and it is of this space, model
and shard; anything else is put aside in `quarantine/` and the shard is rebuilt from the feed, which is the truth.
"""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from actors.index.durable import new_file, replace, sha256_of, sync_folder

log = logging.getLogger(__name__)

FORMAT = 1  # of the manifest and the files it names
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class ShardSpec:
    """Which vectors a shard holds. A snapshot of any other spec is not this shard's."""

    space: str
    model: str
    number: int = 0
    shards: int = 1


@dataclass(frozen=True, slots=True)
class Manifest:
    """`seq`: all changes up to it are in the files; `origin`: whose sequence that is; `count`: live vectors; `files`: SHA-256 by name."""

    spec: ShardSpec
    seq: int
    origin: str
    dimension: int
    count: int
    base: str | None
    base_kind: str
    state: str
    files: dict[str, str]


class DamagedSnapshot(Exception):
    """A snapshot that must not be used; the message says why."""


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


class SnapshotFolder:
    """The files of one shard."""

    def __init__(self, folder: Path, spec: ShardSpec) -> None:
        self.folder, self._spec = folder, spec

    def open(self) -> Manifest | None:
        """The last whole snapshot, every byte of it checked, or None when there is none (any more). Leftovers of a death are
        removed. Raises OSError when the disk can't be read or written."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            manifest = self._read()
        except DamagedSnapshot as damage:
            self.quarantine(str(damage))
            manifest = None
        self.sweep(manifest)
        return manifest

    def _read(self) -> Manifest | None:
        try:
            raw = (self.folder / _MANIFEST).read_bytes()
        except FileNotFoundError:
            return None
        try:
            body = json.loads(raw)
            told = body.pop("digest")
            if told != _digest(body) or body.pop("format") != FORMAT:
                raise DamagedSnapshot("the manifest's digest or format does not match")
            manifest = Manifest(**{**body, "spec": ShardSpec(**body["spec"])})
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedSnapshot(f"the manifest can't be read: {error}") from error
        if manifest.spec != self._spec:
            raise DamagedSnapshot(f"expected a snapshot of {self._spec}, got one of {manifest.spec}")
        for name, expected in manifest.files.items():
            try:
                found = sha256_of(self.folder / name)
            except FileNotFoundError:
                raise DamagedSnapshot(f"{name} is missing") from None
            if found != expected:
                raise DamagedSnapshot(f"{name} does not match its hash")
        return manifest

    def path(self, name: str) -> Path:
        return self.folder / name

    def write_state(self, name: str, write: Callable[[BinaryIO], None]) -> str:
        """Write a file durably, its name not yet; its SHA-256."""
        with new_file(self.folder / name) as file:
            write(file)
        return sha256_of(self.folder / name)

    def publish(self, manifest: Manifest) -> None:
        """From now on this is the snapshot: the names are made durable, then the manifest is renamed into place. What the one
        before named alone is removed."""
        sync_folder(self.folder)
        body = {**asdict(manifest), "format": FORMAT}
        replace(self.folder / _MANIFEST, json.dumps({**body, "digest": _digest(body)}, indent=1).encode())
        self.sweep(manifest)

    def sweep(self, manifest: Manifest | None) -> None:
        """Remove the files that the manifest does not name."""
        kept = {_MANIFEST, *(manifest.files if manifest else ())}
        for path in self.folder.iterdir():
            if path.is_file() and path.name not in kept:
                path.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget the snapshot: the next start begins from nothing."""
        (self.folder / _MANIFEST).unlink(missing_ok=True)
        sync_folder(self.folder)
        self.sweep(None)

    def quarantine(self, reason: str) -> None:
        """Put the files aside for whoever wants to know, in the place of those put aside before."""
        log.error("the snapshot in %s is not used: %s; the shard is rebuilt from the feed", self.folder, reason)
        aside = self.folder / "quarantine"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in list(self.folder.iterdir()):
            if path.is_file():
                path.replace(aside / path.name)
        with contextlib.suppress(OSError):
            (aside / "reason.txt").write_text(reason + "\n", encoding="utf-8")
        sync_folder(self.folder)
