"""A home brought back from a backup, with no instance running. All is unpacked and checked beside the home's own folders first; then the
blobs are added (they are named by their hash, so that nothing is lost by it), and the database is put in place in one step. What ends it
before that step leaves the old home whole; what ends it after is finished by the next start (`unfinished`)."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.backups import contents
from actors.backups.keeper import chosen, need_room
from actors.backups.repository import Repository
from actors.store.cutting import check_copy, expect_kind
from actors.store.restored import check_restorable, holds_rows, may_try, put_in_place
from cluster.instance import HomeLock
from cluster.processes import of_instance
from cluster.unfinished import CHECKED, SCRATCH, finish, is_placed, sync_folder
from perenne.errors import BackupDamaged, Conflict
from perenne.messages.backups import Backup, CutChecked
from perenne.settings import Settings

NOT_TRIED = CutChecked(rows=0, texts=0, vectors=0)  # where the user of PostgreSQL may create no database to try it in

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a home holds now; `kept`: where its old database is."""

    backup: Backup
    checked: CutChecked
    home: str
    kept: str | None = None


def restore(
    settings: Settings, target: str, passphrase: str | None, backup_id: str | None, *, force: bool, tell: Tell
) -> Restored:
    """Make this home what it was when the backup (None: the newest) was made. Conflict when it holds a database already and `force` is
    false, or an instance runs on it; BackupDamaged when the backup is not what it was; then the home is as it was."""
    lock = HomeLock(settings.home)
    lock.take()
    try:
        if left := of_instance(settings.ray_dir):
            raise Conflict(f"{len(left)} processes of an instance of this home still run: end them with `perenne down`")
        if not force and holds_rows(settings.database_url):
            raise Conflict(
                f"{settings.home} holds documents already: restore into an empty home (PERENNE_HOME=…), or over this one with --force; "
                "its old database is kept beside the new one then"
            )
        return _restore(settings, target, passphrase, backup_id, force, tell)
    finally:
        lock.release()


def _restore(
    settings: Settings, target: str, passphrase: str | None, backup_id: str | None, force: bool, tell: Tell
) -> Restored:
    scratch = settings.path(SCRATCH)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    try:
        with Repository.open(target, passphrase) as repository:
            manifest = repository.manifest(chosen(repository, backup_id))
            need_room(scratch, manifest.summary.bytes_total)
            tell(f"unpacking {manifest.id}, {manifest.summary.bytes_total / 1e6:,.1f} MB")
            cut = contents.unpack(repository, manifest, scratch, lambda _: None)
        expect_kind(settings.database_url, cut)
        tell("checking what was unpacked")
        wrong = contents.wrong_blobs(scratch, cut, manifest)
        tried = may_try(settings.database_url)
        checked = NOT_TRIED
        if tried:
            checked = check_restorable(settings.database_url, scratch / contents.DATABASE, cut)
        if wrong or checked.faults:
            raise BackupDamaged(manifest.id, "; ".join((*wrong[:3], *checked.faults[:3])) + "; another may be whole")
        (scratch / CHECKED).touch()
        tell("putting it in place")
        _add_blobs(scratch / contents.BLOBS, settings.path(contents.BLOBS))
        copy = scratch / contents.DATABASE / cut.file
        kept = put_in_place(settings.database_url, copy, cut, force=force)
        copy.unlink(missing_ok=True)  # of PostgreSQL; for SQLite it is the database now
        finish(settings)
        if not tried:  # every byte of it is what was backed up, and its load was one transaction
            checked = check_copy(settings.database_url, cut)
    except BaseException:
        if not is_placed(scratch):
            shutil.rmtree(scratch, ignore_errors=True)
        raise
    return Restored(
        backup=contents.shown(manifest.summary), checked=checked, home=settings.home, kept=None if kept is None else str(kept)
    )


def _add_blobs(source: Path, blobs: Path) -> None:
    """Durably; young again, so that a sweep spares them until the database names them."""
    blobs.mkdir(parents=True, exist_ok=True, mode=0o700)
    folders = sorted(source.iterdir()) if source.is_dir() else []
    for folder in folders:
        place = blobs / folder.name
        place.mkdir(exist_ok=True, mode=0o700)
        for blob in folder.iterdir():
            blob.chmod(0o400)
            os.utime(blob)
            blob.replace(place / blob.name)
        sync_folder(place)
    sync_folder(blobs)
    sync_folder(blobs.parent)
