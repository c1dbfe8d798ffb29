"""What a shard leaves on disk: a sealed base, the state beside it, and a manifest that is renamed into place last.

A snapshot is believed only when the manifest's own digest and the hash of every file that it names are right and it is of this space, model
and shard; anything else is put aside in `quarantine/` and the shard is rebuilt from the feed, which is the truth.
"""

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as replace_fields
from pathlib import Path
from typing import Any, BinaryIO

from actors.index.durable import new_file, replace, sha256_of, sync_folder
from actors.index.policy import KINDS, BaseKind

log = logging.getLogger(__name__)

FORMAT = 2  # of the manifest and the files it names
_READ = (1, FORMAT)  # the first had no graph
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
    """`seq`: all changes up to it are in the files; `origin`: whose sequence that is; `count`: live vectors; `files`: SHA-256 by name.
    `linkable` and `hollow` are what `Sealed` says."""

    spec: ShardSpec
    seq: int
    origin: str
    dimension: int
    count: int
    base: str | None
    base_kind: BaseKind
    state: str
    files: dict[str, str]
    graph: str | None = None
    codes: str | None = None
    linkable: int = 0
    hollow: int = 0

    def file(self, name: str | None) -> tuple[str, str] | None:
        """A file and its hash."""
        return None if name is None else (name, self.files[name])

    def without_graph(self) -> "Manifest":
        """The same, every row looked at."""
        gone = (self.graph, self.codes)
        files = {name: digest for name, digest in self.files.items() if name not in gone}
        return replace_fields(self, base_kind="flat", graph=None, codes=None, files=files)


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
            if told != _digest(body) or body.pop("format") not in _READ:
                raise DamagedSnapshot("the manifest's digest or format does not match")
            manifest = Manifest(**{**body, "spec": ShardSpec(**body["spec"])})
            if manifest.base_kind not in KINDS:
                raise DamagedSnapshot(f"expected a base of a kind among {KINDS}, got {manifest.base_kind!r}")
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise DamagedSnapshot(f"the manifest can't be read: {error}") from error
        if manifest.spec != self._spec:
            log.warning("the snapshot in %s is of %s, not of %s: it is removed", self.folder, manifest.spec, self._spec)
            self.discard()
            return None
        for name in manifest.files:
            reason = self._damage(manifest, name)
            if reason and name not in (manifest.graph, manifest.codes):
                raise DamagedSnapshot(reason)
            if reason:  # the graph can be made again from the base
                self.quarantine(reason, (manifest.graph, manifest.codes), "the graph is made anew")
                return self._without_graph(manifest)
        return manifest

    def _damage(self, manifest: Manifest, name: str) -> str | None:
        try:
            found = sha256_of(self.folder / name)
        except FileNotFoundError:
            return f"{name} is missing"
        return None if found == manifest.files[name] else f"{name} does not match its hash"

    def _without_graph(self, manifest: Manifest) -> Manifest:
        plain = manifest.without_graph()
        for name in plain.files:
            if reason := self._damage(plain, name):
                raise DamagedSnapshot(reason)
        return plain

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

    def quarantine(
        self, reason: str, only: Sequence[str | None] = (), then: str = "the shard is rebuilt from the feed"
    ) -> None:
        """Put the files, all or some, aside for whoever wants to know, in the place of those put aside before."""
        log.error("%s in %s is not used: %s; %s", "part of the snapshot" if only else "the snapshot", self.folder, reason, then)
        aside = self.folder / "quarantine"
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir()
        for path in list(self.folder.iterdir()):
            if path.is_file() and (not only or path.name in only):
                path.replace(aside / path.name)
        with contextlib.suppress(OSError):
            (aside / "reason.txt").write_text(reason + "\n", encoding="utf-8")
        sync_folder(self.folder)


def remove_surplus(space: Path, shards: int) -> None:
    """Remove the folders of shards that there are no more of: nobody would erase what is deleted from them."""
    for folder in space.iterdir() if space.is_dir() else ():
        if folder.name.isdecimal() and int(folder.name) >= shards:
            log.warning("%s is of a shard that there is no more: it is removed", folder)
            shutil.rmtree(folder, ignore_errors=True)
