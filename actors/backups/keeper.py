"""Backups made, checked, cleared away and tried out: one at a time, in the order in which they are asked for."""

import asyncio
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from actors.backups import contents
from actors.backups.before import spared
from actors.backups.repository import Report, Repository, Retention
from perenne import names
from perenne.directory import Directory
from perenne.errors import InvalidRequest, NotFound, PerenneError, StorageFailed, Unavailable
from perenne.ids import new_id
from perenne.messages.backups import Backup, BackupMade, BackupVerified, Cut, CutChecked, DrillDone
from perenne.settings import Settings

log = logging.getLogger(__name__)

CUT_WITHIN_S = 12 * 3_600.0
HOLD_S = 600.0  # how long one word keeps the files of a cut from being swept
HOLD_AGAIN_S = 60.0
HOLD_WITHIN_S = 10.0
FAULTS_SHOWN = 20
ROOM_BYTES = 64 << 20  # that must be left on the disk beside what is unpacked


@dataclass(slots=True)
class Progress:
    """What is being done, for whoever asks; and when it last moved."""

    doing: str = ""
    moved_bytes: int = 0
    moved_at: float = 0.0

    def begin(self, doing: str) -> None:
        self.doing, self.moved_bytes = doing, 0
        self.moved_at = time.monotonic()

    def moved(self, count: int) -> None:
        self.moved_bytes += count
        self.moved_at = time.monotonic()

    def __str__(self) -> str:
        return f"{self.doing}: {self.moved_bytes >> 20:,} MB" if self.moved_bytes >> 20 else self.doing


class Keeper:
    """The work itself, without a clock. `note` is told what is being done whenever that changes."""

    def __init__(self, settings: Settings, directory: Directory, version: str) -> None:
        self._settings, self._directory, self._version = settings, directory, version
        self._scratch = settings.path("scratch", "backups")
        self.progress = Progress()
        self.note: Callable[[str], None] = log.info

    def open(self) -> None:
        """Drop what one that died left half-made. OSError."""
        shutil.rmtree(self._scratch, ignore_errors=True)

    def repository(self, *, create: bool = False) -> Repository:
        """NotFound while there was no backup yet."""
        backups = self._settings.backups
        return Repository.open(self._settings.backups_target, backups.passphrase, create=create)

    def _begin(self, doing: str) -> None:
        self.progress.begin(doing)
        self.note(doing)

    # Making one

    async def create(self, kind: str) -> BackupMade:
        """Cut, write, verify, then clear away those whose time is over. If this returns with `verified.ok`, the backup is whole in its
        target. Raises what the target, the database or the disk refused; then nothing new is listed."""
        began = time.monotonic()
        hold = asyncio.create_task(self._hold_blobs())
        try:
            await self._held()  # before the cut: what its rows name must be there when it is written
            made, report = await self._write(kind)
            if not report.ok:
                log.error("backup %s is damaged as it was written: another is made: %s", made.id, report.findings[:3])
                await asyncio.to_thread(self._mend, report)
                made, report = await self._write(kind)
        finally:
            hold.cancel()
            await asyncio.gather(hold, return_exceptions=True)
            await self._let_blobs_go()
        verified = verified_of(report)
        removed: tuple[str, ...] = ()
        if verified.ok:
            self._begin("removing old backups")
            removed = await asyncio.to_thread(self._prune)
        return BackupMade(backup=made, verified=verified, took_s=round(time.monotonic() - began, 3), removed=removed)

    async def _write(self, kind: str) -> tuple[Backup, Report]:
        folder = self._new_scratch()
        try:
            self._begin("copying the database")
            cut = await self._patient("cut_database", folder=str(folder))
            assert isinstance(cut, Cut)
            self._begin("writing")
            manifest = await asyncio.to_thread(self._store, cut, folder, kind)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
        self._begin("verifying")
        return contents.shown(manifest.summary), await asyncio.to_thread(self._verify, manifest.id)

    def _store(self, cut: Cut, folder: Path, kind: str) -> contents.Manifest:
        place = contents.blob_place(self._settings.path(contents.BLOBS))
        with self.repository(create=True) as repository:
            return contents.store(
                repository, cut, folder, place, Path(self._settings.home),
                kind=kind, version=self._version, moved=self.progress.moved,
            )  # fmt: skip

    def _verify(self, backup_id: str) -> Report:
        with self.repository() as repository:
            return repository.verify(backup_id, moved=self.progress.moved)

    def _mend(self, report: Report) -> None:
        with self.repository() as repository:
            repository.mend(report)

    def _prune(self) -> tuple[str, ...]:
        kept = self._settings.backups
        rules = Retention(hourly=kept.hourly, daily=kept.daily, weekly=kept.weekly, monthly=kept.monthly)
        with self.repository() as repository:
            spare = spared(repository.list(), time.time())
            return repository.prune(rules, spare=spare, moments_days=kept.moments_days).removed

    async def _patient(self, method: str, **arguments: object) -> object:
        """A call of the reader that may take hours: it counts as moving for as long as it is under way."""
        call = asyncio.ensure_future(self._directory.call(names.store_reader(0), method, timeout_s=CUT_WITHIN_S, **arguments))
        try:
            while not call.done():
                await asyncio.wait({call}, timeout=5.0)
                self.progress.moved(0)
            return await call
        finally:
            call.cancel()

    def _new_scratch(self) -> Path:
        folder = self._scratch / new_id("cut")
        folder.mkdir(parents=True, mode=0o700)
        return folder

    # The files of a cut must not be swept before they are written: a row may be deleted right after the cut, and its file be old.

    async def _held(self) -> None:
        await self._directory.call(names.blob_store(self._settings.pc), "hold", timeout_s=HOLD_WITHIN_S, for_s=HOLD_S)

    async def _hold_blobs(self) -> None:
        while True:
            await asyncio.sleep(HOLD_AGAIN_S)
            try:
                await self._held()
            except PerenneError as error:  # it is restarting: its first sweep is an hour away
                log.info("the files could not be held: %s", error)

    async def _let_blobs_go(self) -> None:
        try:
            await self._directory.call(names.blob_store(self._settings.pc), "hold", timeout_s=HOLD_WITHIN_S, for_s=0.0)
        except PerenneError as error:
            log.info("the files are held for some minutes more: %s", error)

    # Looking at those that there are

    def backups(self) -> tuple[Backup, ...]:
        """The newest first; none where there was none yet."""
        try:
            with self.repository() as repository:
                return tuple(contents.shown(summary) for summary in repository.list())
        except NotFound:
            return ()

    async def verify(self, backup_id: str | None) -> BackupVerified:
        """Every piece of a backup (None: the newest) read and compared. NotFound."""
        wanted = await asyncio.to_thread(self.find, backup_id)
        self._begin("verifying")
        return verified_of(await asyncio.to_thread(self._verify, wanted))

    def find(self, backup_id: str | None) -> str:
        """The id of a backup, of the newest for None. NotFound."""
        with self.repository() as repository:
            return chosen(repository, backup_id)

    # The drill

    async def drill(self, backup_id: str | None) -> DrillDone:
        """Restore a backup (None: the newest) into a scratch folder and compare it with what was recorded when it was made. Raises
        NotFound; what is wrong with the backup is in the answer."""
        began, at = time.monotonic(), time.time()
        wanted = await asyncio.to_thread(self.find, backup_id)
        folder = self._new_scratch()
        await asyncio.to_thread(self._need_room, wanted, folder)
        done = DrillDone(backup_id=wanted, ok=False, at=at, took_s=0.0)
        try:
            self._begin("restoring into a scratch folder")
            cut, files = await asyncio.to_thread(self._unpack, wanted, folder)
            self._begin("comparing")
            checked = await self._patient("check_copy", folder=str(folder / contents.DATABASE), cut=cut)
            assert isinstance(checked, CutChecked)
            done = replace(
                done,
                ok=not checked.faults,
                rows=checked.rows,
                files=files,
                texts=checked.texts,
                vectors=checked.vectors,
                faults=checked.faults[:FAULTS_SHOWN],
            )
        except (Unavailable, InvalidRequest, NotFound):
            raise  # nothing was learnt of the backup
        except PerenneError as error:
            done = replace(done, faults=(str(error),))
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, True)
        return replace(done, took_s=round(time.monotonic() - began, 3))

    def _need_room(self, backup_id: str, folder: Path) -> None:
        with self.repository() as repository:
            need_room(folder, repository.manifest(backup_id).summary.bytes_total)

    def _unpack(self, backup_id: str, folder: Path) -> tuple[Cut, int]:
        with self.repository() as repository:
            manifest = repository.manifest(backup_id)
            cut = contents.unpack(repository, manifest, folder, self.progress.moved)
        faults = contents.wrong_blobs(folder, cut, manifest)
        if faults:
            raise contents.BackupDamaged(faults[0], "its bytes are not those of its name")
        return cut, len(manifest.entries)


def need_room(folder: Path, size_bytes: int) -> None:
    """StorageFailed unless so many bytes can be unpacked there."""
    free = shutil.disk_usage(folder).free
    if free < size_bytes + ROOM_BYTES:
        raise StorageFailed(
            f"{folder} has {free >> 20:,} MB free, and the backup needs {(size_bytes + ROOM_BYTES) >> 20:,} MB: make room, then again"
        )


def chosen(repository: Repository, backup_id: str | None) -> str:
    """The backup's id, the newest one's for None. NotFound."""
    if backup_id is not None:
        return repository.manifest(backup_id).id
    newest = next(iter(repository.list()), None)
    if newest is None:
        raise NotFound("backup", "newest")
    return newest.id


def verified_of(report: Report) -> BackupVerified:
    """A report as its owner sees it."""
    return BackupVerified(
        id=report.id,
        ok=report.ok,
        pieces=report.pieces,
        size_bytes=report.bytes_read,
        took_s=report.took_s,
        faults=tuple(
            f"{finding.what}: {finding.reason}" + (f" (of {finding.file})" if finding.file else "")
            for finding in report.findings[:FAULTS_SHOWN]
        ),
    )
