"""A home brought back from a backup, with no instance running. All is unpacked and checked beside the home's own folders first; then the
blobs are added (they are named by their hash, so that nothing is lost by it), and the database is put in place in one step. What ends it
before that step leaves the old home whole; what ends it after is finished by the next start (`unfinished`)."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from actors.backups import contents, moments
from actors.backups.keeper import chosen, need_room
from actors.backups.moments import Run, Target
from actors.backups.repository import Manifest, Repository
from actors.store.cutting import check_copy, expect_kind
from actors.store.replaying import Moment, replay
from actors.store.restored import check_restorable, files_named, holds_rows, may_try, put_in_place
from cluster.instance import HomeLock
from cluster.processes import of_instance
from cluster.unfinished import CHECKED, SCRATCH, finish, is_placed, sync_folder
from perenne.errors import BackupDamaged, Conflict, InvalidRequest
from perenne.messages.backups import Backup, CutChecked
from perenne.settings import Settings

NOT_TRIED = CutChecked(rows=0, texts=0, vectors=0)  # where the user of PostgreSQL may create no database to try it in

_LOG = "log"  # in the scratch folder

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What a home holds now; `kept`: where its old database is. `seq` and `at`: the last change that is in it and when that was, of a moment
    that the log led to; `missing`: files whose rows came after the backup and that are nowhere."""

    backup: Backup
    checked: CutChecked
    home: str
    kept: str | None = None
    seq: int | None = None
    at: float | None = None
    missing: int = 0


def restore(
    settings: Settings,
    target: str,
    passphrase: str | None,
    backup_id: str | None,
    *,
    force: bool,
    tell: Tell,
    to: Target | None = None,
) -> Restored:
    """Make this home what it was when the backup (None: the newest) was made, or with `to` at that moment, from the newest backup (or the
    one that is named) that leads to it. Conflict when it holds a database already and `force` is false, or an instance runs on it;
    InvalidRequest for a moment that can't be brought back, saying which can; BackupDamaged when something is not what it was; then the
    home is as it was."""
    if to is not None and not settings.database_url.startswith("sqlite:"):
        raise InvalidRequest(
            "moments between backups are kept of SQLite; this home's database is PostgreSQL, whose own archive does that: archive_command "
            "with pg_basebackup, or pgBackRest. Without --at a whole backup is restored",
            "at",
        )
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
        return _restore(settings, target, passphrase, backup_id, force, tell, to)
    finally:
        lock.release()


def _restore(
    settings: Settings, target: str, passphrase: str | None, backup_id: str | None, force: bool, tell: Tell, to: Target | None
) -> Restored:
    scratch = settings.path(SCRATCH)
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True, mode=0o700)
    try:
        with Repository.open(target, passphrase) as repository:
            run = None if to is None else moments.plan(repository.list(), repository.log.segments(), to, backup_id)
            manifest = repository.manifest(chosen(repository, backup_id) if run is None else run.backup.id)
            need_room(scratch, manifest.summary.bytes_total + (0 if run is None else run.room_bytes))
            tell(f"unpacking {manifest.id}, {manifest.summary.bytes_total / 1e6:,.1f} MB")
            with repository.reading():
                cut = contents.unpack(repository, manifest, scratch, lambda _: None)
                logs = [] if run is None else moments.unpack(repository.log, run.segments, scratch / _LOG)
        expect_kind(settings.database_url, cut)
        tell("checking what was unpacked")
        wrong = contents.wrong_blobs(scratch, cut, manifest)
        tried = may_try(settings.database_url)
        checked = NOT_TRIED
        if tried:
            checked = check_restorable(settings.database_url, scratch / contents.DATABASE, cut)
        if wrong or checked.faults:
            raise BackupDamaged(manifest.id, "; ".join((*wrong[:3], *checked.faults[:3])) + "; another may be whole")
        moment, missing = None, 0
        if run is not None and to is not None:
            tell(f"carrying it on to {to}")
            moment = _carry_on(scratch / contents.DATABASE / cut.file, logs, run, to)
            with Repository.open(target, passphrase) as repository:
                missing = _add_later_files(repository, manifest, settings, scratch, cut.file)
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
        backup=contents.shown(manifest.summary),
        checked=checked,
        home=settings.home,
        kept=None if kept is None else str(kept),
        seq=None if moment is None else moment.seq,
        at=None if moment is None else moment.at_ms / 1000,
        missing=missing,
    )


def _carry_on(copy: Path, logs: list[Path], run: Run, to: Target) -> Moment:
    return replay(copy, logs, run.frame, run.backup.cut.seq, to_seq=to.seq, to_ms=to.at_ms)


def _add_later_files(repository: Repository, manifest: Manifest, settings: Settings, scratch: Path, database: str) -> int:
    """Files that rows name which came after the backup: out of any other backup. How many are nowhere, this home included."""
    named = files_named(f"sqlite:///{scratch / contents.DATABASE / database}")
    lacking = {contents.blob_name(each): each for each in named}
    for entry in manifest.entries:
        lacking.pop(entry.name, None)
    with repository.reading():
        for summary in repository.list():
            if not lacking:
                break
            for entry in repository.manifest(summary.id).entries:
                if lacking.get(entry.name) == entry.sha256:
                    (scratch / entry.name).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                    repository.restore_file(entry, scratch / entry.name)
                    del lacking[entry.name]
    place = contents.blob_place(settings.path(contents.BLOBS))
    found = (place(blob_hash) for blob_hash in lacking.values())
    return sum(1 for path in found if path is None or not path.is_file())


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
