"""What is in a backup of ours, and under which names: the database's copy, what was recorded of it, the files that its rows name, and the
home's own small files. Index snapshots are not in it: a shard is made again from the database."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import orjson
from pydantic import TypeAdapter, ValidationError

from actors.backups.before import TO
from actors.backups.moments import AT, NOTE
from actors.backups.repository import Cut as Label
from actors.backups.repository import Manifest, Repository, Summary
from perenne.errors import BackupDamaged
from perenne.messages.backups import Backup, Cut, DatabaseKind

CUT = "cut.json"
DATABASE = "database"
BLOBS = "blobs"
HOME = "home"
HOME_FILES = ("key", "config.yaml")  # the first key, and the owner's settings
_CUT = TypeAdapter(Cut)


def blob_name(blob_hash: str) -> str:
    """Where a blob lies, in a backup as in a home."""
    return f"{BLOBS}/{blob_hash[:2]}/{blob_hash[2:]}"


def store(
    repository: Repository,
    cut: Cut,
    folder: Path,
    blob: Callable[[str], Path | None],
    home: Path,
    *,
    kind: str,
    version: str,
    moved: Callable[[int], None],
    notes: Mapping[str, str] | None = None,
) -> Manifest:
    """Write a backup of the cut whose copy is in `folder`. If this returns it is listed; if it raises, or the process dies, it is not.
    `blob` says where a file is; one that is not there is counted as missing, for it was missing from the home too."""
    missing: list[str] = []
    with repository.begin(moved) as writer:
        (folder / CUT).write_bytes(orjson.dumps(asdict(cut)))
        writer.add_file(CUT, folder / CUT)
        writer.add_file(f"{DATABASE}/{cut.file}", folder / cut.file)
        for blob_hash in cut.blobs:
            path = blob(blob_hash)
            try:
                if path is not None:
                    writer.add_file(blob_name(blob_hash), path)
                    continue
            except FileNotFoundError:
                pass
            missing.append(blob_hash)
        for name in HOME_FILES:
            if (home / name).is_file():
                writer.add_file(f"{HOME}/{name}", home / name)
        label = Label(
            kind=kind,
            version=version,
            database=cut.kind,
            revision=cut.revision,
            seq=cut.seq,
            origin=cut.origin,
            counts=cut.counts,
            notes={**(notes or {}), "missing": str(len(missing)), AT: str(cut.at), NOTE: cut.log},
        )
        return writer.commit(label)


def blob_place(blobs: Path) -> Callable[[str], Path | None]:
    """Where a home keeps each file."""
    return lambda blob_hash: blobs / blob_hash[:2] / blob_hash[2:]


def unpack(repository: Repository, manifest: Manifest, folder: Path, moved: Callable[[int], None]) -> Cut:
    """Write all files of a backup under `folder`, each compared with its hash; what was recorded of the database. BackupDamaged."""
    made: set[Path] = set()
    with repository.reading():
        for entry in manifest.entries:
            path = folder / entry.name
            if path.parent not in made:
                path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                made.add(path.parent)
            repository.restore_file(entry, path, moved)
    try:
        cut = cast("Cut", _CUT.validate_json((folder / CUT).read_bytes()))
    except (OSError, ValidationError) as error:
        raise BackupDamaged(CUT, f"it can't be read: {error}") from error
    if manifest.entry(f"{DATABASE}/{cut.file}") is None:
        raise BackupDamaged(cut.file, "the backup holds no database")
    return cut


def wrong_blobs(folder: Path, cut: Cut, manifest: Manifest) -> tuple[str, ...]:
    """Names of unpacked files that are not what a row of the database means by them: their bytes have another hash."""
    wanted = {blob_name(blob_hash): blob_hash for blob_hash in cut.blobs}
    held = {entry.name: entry.sha256 for entry in manifest.entries if entry.name.startswith(f"{BLOBS}/")}
    return tuple(name for name, digest in held.items() if wanted.get(name) != digest or not (folder / name).is_file())


def shown(summary: Summary) -> Backup:
    """A backup as its owner sees it."""
    label = summary.cut
    return Backup(
        id=summary.id,
        created_at=float(label.notes.get(AT, summary.created_at)),
        kind=cast("DatabaseKind", label.database),
        revision=label.revision,
        origin=label.origin,
        seq=label.seq,
        documents=label.counts.get("documents", 0),
        passages=label.counts.get("chunks", 0),
        files=summary.files,
        size_bytes=summary.bytes_total,
        new_bytes=summary.bytes_stored,
        missing=int(label.notes.get("missing", "0")),
        purpose=label.kind,
        version=label.version,
        migrated_to=label.notes.get(TO, ""),
    )
